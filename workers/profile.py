"""Time recorded trials on a target of this machine, without training."""

from collections.abc import Callable, Sequence

from nas.errors import NasError, first_line
from nas.records import JSON, Latency, TrialFacts
from search_spaces.build import build_model
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.memory import is_out_of_memory


def input_shape(spec: JSON) -> tuple[int, int, int]:
    """(channels, height, width) of the images of a recorded network, so that its data need not be here."""
    return int(spec["in_chans"]), int(spec["image_size"]), int(spec["image_size"])


def profile(
    trials: Sequence[TrialFacts],
    target: LatencyTarget,
    record: Callable[[TrialFacts, Latency], None],
    note: Callable[[str], None],
) -> int:
    """Time the architectures one after the other; each is recorded before the next begins.

    Args:
        trials: what to time.
        target: on what.
        record: keeps one timing.
        note: told why a trial could not be timed; the others still are.

    Returns:
        How many could not be timed.
    """
    lock = DeviceLock(device_identity(target.device))
    failed = 0
    for trial in trials:
        try:
            latency = measure(build_model(trial.spec), target, input_shape(trial.spec), lock)
        except (NasError, RuntimeError, MemoryError) as error:
            if not isinstance(error, NasError) and not is_out_of_memory(error):
                raise
            failed += 1
            note(f"trial {trial.trial_number} cannot be timed: {first_line(error, 'out of memory')}")
        else:
            record(trial, latency)
    return failed
