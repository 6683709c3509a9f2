"""Ctrl-C and SIGTERM: noted, raised, or kept from a clean-up."""

import os
import signal

import pytest

from nas.signals import SIGNALS, StopSignals


class Thing:
    """Is signalled while it is closed."""

    closed = False

    def close(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        self.closed = True


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts(number: signal.Signals) -> None:
    with StopSignals(), pytest.raises(KeyboardInterrupt):
        stop(number)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopSignals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_nohup_stays_in_force() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            stop(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_loop_the_first_signal_is_noted_and_the_second_interrupts() -> None:
    with StopSignals() as signals:
        with signals.deferred() as requested:
            assert not requested()
            stop()
            assert requested()
            with pytest.raises(KeyboardInterrupt):
                stop()
        stop()  # the process is ending


def test_a_signal_during_the_making_interrupts_after_it_and_closes() -> None:
    made = []

    def make() -> Thing:
        stop()
        made.append(Thing())
        return made[0]

    with StopSignals() as signals, pytest.raises(KeyboardInterrupt), signals.closing(make):
        pytest.fail("interrupted before the block")
    assert made[0].closed


def test_a_making_that_hangs_is_interrupted_by_the_second_signal() -> None:
    def make() -> Thing:
        stop()
        stop()
        return Thing()

    with StopSignals() as signals, pytest.raises(KeyboardInterrupt), signals.closing(make):
        pass


def test_closing_is_not_cut_short() -> None:
    thing = Thing()
    with StopSignals() as signals, pytest.raises(KeyboardInterrupt), signals.closing(lambda: thing):
        stop()
    assert thing.closed


def test_an_interrupt_that_a_library_swallowed_is_not_forgotten() -> None:
    with StopSignals() as signals:
        with pytest.raises(KeyboardInterrupt):
            stop()
        with signals.deferred() as requested:
            assert requested()
