"""`viewer-consumer simulate`: send events of a simulated audience to the input topic or to a file."""

# ruff: noqa: PLC0415  # what the command needs is imported inside it, so that `--help` answers at once

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.options import INTERRUPTED, Config, Overrides, read_kafka_settings, read_settings

if TYPE_CHECKING:
    from consumer.settings.model import Settings
    from consumer.simulate.options import SimulateOptions

To = Annotated[
    str | None,
    typer.Option("--to", metavar="FILE", help="A file (.avro, .jsonl), or - for stdout.", show_default="input topic"),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")]
Streams = Annotated[int, typer.Option("--streams", metavar="N", min=1, help="Number of streams.")]
Viewers = Annotated[
    int, typer.Option("--viewers", metavar="N", min=1, help="Approximate number of concurrent viewers.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed gives the same events.")]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="Event time of the start, as 2026-01-31T20:15:00Z or in ms."),
]
History = Annotated[
    str, typer.Option("--history", metavar="SPAN", help="Start this long ago and catch up, as 90s, 10m, 2h.")
]
Duration = Annotated[
    str | None, typer.Option("--duration", metavar="SPAN", help="Length in event time, as 90s, 10m, 2h.")
]
Events = Annotated[int | None, typer.Option("--events", metavar="N", min=1, help="End after this number of events.")]
Speed = Annotated[
    float | None,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        min=0,
        help="Speed relative to real time; 0 is as fast as possible.",
        show_default="1, or 0 to a file",
    ),
]
Heartbeats = Annotated[
    float,
    typer.Option(
        "--heartbeats", metavar="SHARE", min=0, max=1, help="Share of bitrate reports sent as heartbeats instead."
    ),
]
Combined = Annotated[
    float,
    typer.Option(
        "--combined", metavar="SHARE", min=0, max=1, help="Share of stalls reported in one record with a bitrate."
    ),
]
Loss = Annotated[float, typer.Option("--loss", metavar="SHARE", min=0, max=1, help="Share of events that are lost.")]
LeaveLoss = Annotated[
    float,
    typer.Option("--leave-loss", metavar="SHARE", min=0, max=1, help="Share of leaves that are lost in addition."),
]
Duplicates = Annotated[
    float, typer.Option("--duplicates", metavar="SHARE", min=0, max=1, help="Share of events that arrive twice.")
]
Disorder = Annotated[
    float, typer.Option("--disorder", metavar="SHARE", min=0, max=1, help="Share of events that are delayed.")
]
MaxDelay = Annotated[str, typer.Option("--max-delay", metavar="SPAN", help="The longest delay.")]
ClockSkew = Annotated[str, typer.Option("--clock-skew", metavar="SPAN", help="Largest error of the viewers' clocks.")]
SchemaId = Annotated[int, typer.Option("--schema-id", metavar="N", min=0, help="Registry id before each record.")]


def simulate(
    config: Config = None,
    overrides: Overrides = None,
    to: To = None,
    force: Force = False,
    streams: Streams = 300,
    viewers: Viewers = 10_000,
    seed: Seed = 1,
    start: Start = None,
    history: History = "0s",
    duration: Duration = None,
    events: Events = None,
    speed: Speed = None,
    heartbeats: Heartbeats = 0.0,
    combined: Combined = 0.0,
    loss: Loss = 0.0,
    leave_loss: LeaveLoss = 0.0,
    duplicates: Duplicates = 0.0,
    disorder: Disorder = 0.0,
    max_delay: MaxDelay = "5s",
    clock_skew: ClockSkew = "0s",
    schema_id: SchemaId = 1,
) -> None:
    """Send events of a simulated audience to the input topic or to a file."""
    read = read_kafka_settings if to is None else read_settings
    settings = read(config, overrides)
    from consumer.runtime.durations import parse_span_ms, parse_time_ms
    from consumer.simulate.noise import NoiseRules
    from consumer.simulate.options import SimulateOptions
    from consumer.simulate.programme import Cast
    from consumer.simulate.reports import ReportRules

    options = SimulateOptions(
        out=to,
        force=force,
        seed=seed,
        cast=Cast(streams=streams, viewers=viewers),
        reports=ReportRules(heartbeats=heartbeats, combined=combined),
        noise=NoiseRules(
            loss,
            leave_loss,
            duplicates,
            disorder,
            max_delay_ms=parse_span_ms("--max-delay", max_delay),
            max_skew_ms=parse_span_ms("--clock-skew", clock_skew),
        ),
        start_ms=None if start is None else parse_time_ms("--start", start),
        history_ms=parse_span_ms("--history", history),
        duration_ms=None if duration is None else parse_span_ms("--duration", duration),
        max_events=events,
        speed=speed,
        schema_id=schema_id,
    )
    _run(options, settings)


def _run(options: "SimulateOptions", settings: "Settings") -> None:
    from rich.console import Console

    from consumer.runtime.signals import stop_on_signals
    from consumer.simulate.run import WallClock
    from consumer.simulate.run import simulate as run_simulation

    with stop_on_signals() as stop:
        report = run_simulation(options, settings, WallClock(stop), Console(stderr=True))
    typer.echo(report.line, err=True)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
