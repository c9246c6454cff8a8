import signal

import pytest

from consumer.runtime.signals import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sets_the_event_and_a_second_one_has_its_previous_effect(number: signal.Signals) -> None:
    seen: list[int] = []
    before = signal.signal(number, lambda got, _frame: seen.append(got))
    try:
        with stop_on_signals() as stop:
            assert not stop.is_set()
            signal.raise_signal(number)
            assert stop.is_set()
            assert seen == []
            signal.raise_signal(number)
            assert seen == [number]
    finally:
        signal.signal(number, before)


def test_handlers_are_restored_at_the_end() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals():
        assert signal.getsignal(signal.SIGTERM) != handlers[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
