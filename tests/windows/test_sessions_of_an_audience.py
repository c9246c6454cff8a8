"""A simulated audience with lost leaves, duplicates and delays: every value equals the judge's."""

import numpy as np

from consumer.simulate.audience import Audience
from consumer.simulate.feed import Arrivals
from consumer.simulate.noise import Noise, NoiseRules
from consumer.simulate.programme import Cast
from consumer.simulate.reports import ReportRules, Reports
from tests.reference.sessions_counting import Event, Reference, Rules
from tests.windows.columns import columns, kind_of
from tests.windows.test_sessions_against_reference import Row, assert_same_closed, closed_rows, engine, judged_rows

START_MS = 1_700_000_000_000
LENGTH_MS = 240_000
SEED = 5
RULES = Rules(window_duration_ms=60_000, bucket_ms=10_000, grace_ms=20_000, viewer_timeout_ms=90_000)
STEP_MS = 10_000


def test_live_counts_and_summaries_of_a_simulated_audience_equal_the_judges() -> None:
    noise = NoiseRules(leave_loss=0.05, duplicates=0.02, disorder=0.3, max_delay_ms=20_000)
    reports = Reports(ReportRules(heartbeats=0.3, combined=0.5), SEED)
    arrivals = Arrivals(Audience(Cast(streams=20, viewers=300), START_MS, SEED), reports, Noise(noise, SEED))
    names = arrivals.audience.programme.stream_ids
    reference, windows = Reference(RULES), engine(RULES)
    closed: list[Row] = []
    taken, lives = 0, 0
    for now_ms in range(START_MS + STEP_MS, START_MS + LENGTH_MS + 1, STEP_MS):
        batch = arrivals.step(now_ms)
        events = [
            Event(names[s], f"viewer {v}", t, kind_of(facts), bitrate_bps or duration_ms, duration_ms)
            for _, t, s, v, facts, bitrate_bps, duration_ms in zip(*(column.tolist() for column in batch), strict=True)
        ]
        windows.apply(columns(events), 0, len(events), np.arange(taken, taken + len(events)))
        closed += closed_rows(windows.pop_closed())
        for offset, event in enumerate(events, taken):
            reference.apply(event, offset)
        taken += len(events)
        views = {view.stream_id: view.concurrent_viewers for view in windows.views()}
        assert views == {stream_id: reference.live(stream_id) for stream_id in reference.streams}
        lives += sum(views.values())
    assert_same_closed(closed, judged_rows(reference.closed))
    assert taken > 2_000
    assert lives > 1_000
    assert len(closed) > 80
    assert sum(each.stats.leaves for each in reference.closed) > 0
