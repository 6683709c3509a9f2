"""Time recorded trials on a target of this machine, without training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from nas.errors import InvalidInputError, NasError, first_line
from nas.pareto.picks import pick_trials
from nas.pareto.targets import target_text, untimed
from nas.protocols import StudyReader
from nas.records import JSON, Latency, StudyRecord, TrialFacts, facts_by_number
from nas.text import cost_text
from search_spaces.architecture.used import used_mixers
from search_spaces.build import Build, builder
from search_spaces.registry import building_module
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget, default_target, text_of
from workers.latency.timings import DeviceTiming, read_timings
from workers.memory import is_out_of_memory


class TimingStore(StudyReader, Protocol):
    """What timing recorded trials needs of a store."""

    def record_latency(self, study: str, trial_number: int, latency: Latency) -> None:
        """Add a later timing of a trial's architecture."""
        ...


@dataclass(frozen=True, slots=True)
class Profiled:
    """What was timed."""

    target: str
    """Text of the latency target."""
    timed: int
    """Trials that were timed now."""
    failed: int
    """Trials that could not be timed."""


def profile_study(
    study: StudyRecord, store: TimingStore, latency_target: str | None, trials: str, say: Callable[[str], None]
) -> Profiled:
    """Time what is not timed yet; each timing is recorded before the next begins.

    Args:
        study: the study.
        store: open.
        latency_target: on what; None for the GPU, else one CPU thread.
        trials: front, all (finished ones), or numbers separated by commas.
        say: takes lines about the progress.

    Raises:
        InvalidInputError: if the target cannot be used here, or there is no such trial that finished.
        NasError: if the database fails.
    """
    target = LatencyTarget.parse(latency_target or default_target())
    facts = facts_by_number(store.facts(study.name))
    picked = pick_trials(trials, store.front(study.name), facts)
    target.check_memory(input_shape(picked[0].spec))
    fingerprint = target.fingerprint(input_shape(picked[0].spec))
    todo = untimed(picked, store.timings(study.name), fingerprint)
    done = len(picked) - len(todo)
    say(f"{study.name}: {done} of {len(picked)} trials are timed on {target_text(fingerprint)}")

    def record(trial: TrialFacts, latency: Latency) -> None:
        store.record_latency(study.name, trial.trial_number, latency)
        say(f"trial {trial.trial_number}: {cost_text('latency_ms', latency.median_ms)}")

    module = building_module(study, picked[0].spec)
    build = _for_target(target, builder(module)) if module is None else builder(module)
    failed = profile(todo, target, record, say, build)
    return Profiled(str(target), len(todo) - failed, failed)


def take_in(study: StudyRecord, store: TimingStore, files: Sequence[Path], say: Callable[[str], None]) -> Profiled:
    """Record what other devices timed; what is recorded already is left as it is.

    Args:
        study: the study.
        store: open.
        files: what bundles wrote there; every one is checked before anything is recorded.
        say: takes lines about the progress.

    Raises:
        InvalidInputError: if a file cannot be used, or holds an entry of no finished trial of the study.
        NasError: if the database fails.
    """
    numbers = {fact.arch_hash: fact.trial_number for fact in store.facts(study.name) if fact.state == "COMPLETE"}
    timings: list[DeviceTiming] = []
    for file in files:
        timings += read_timings(file)
    if not timings:
        raise InvalidInputError(f"{', '.join(map(str, files))}: no network was timed; time at least one")
    for timing in timings:
        if timing.arch_hash not in numbers:
            raise InvalidInputError(
                f"entry {timing.entry!r} is of architecture {timing.arch_hash[:12]}, and no finished trial of study "
                f"{study.name!r} is; give the --study that the entry was exported from"
            )
    recorded = store.timings(study.name)
    new = [timing for timing in timings if timing.latency not in recorded.get(numbers[timing.arch_hash], ())]
    for timing in new:
        store.record_latency(study.name, numbers[timing.arch_hash], timing.latency)
        say(f"trial {numbers[timing.arch_hash]}: {cost_text('latency_ms', timing.latency.median_ms)} ({timing.entry})")
    return Profiled(text_of(timings[-1].latency.target), len(new), 0)


def _for_target(target: LatencyTarget, build: Build) -> Build:
    """Builds networks of our blocks that the target can run, and refuses others."""

    def build_if_runnable(spec: JSON, drop_path_rate: float) -> nn.Module:
        target.check_mixers(used_mixers(spec), "give another --latency-target")
        return build(spec, drop_path_rate)

    return build_if_runnable


def input_shape(spec: JSON) -> tuple[int, int, int]:
    """(channels, height, width) of the images of a recorded network, so that its data need not be here."""
    return int(spec["in_chans"]), int(spec["image_size"]), int(spec["image_size"])


def profile(
    trials: Sequence[TrialFacts],
    target: LatencyTarget,
    record: Callable[[TrialFacts, Latency], None],
    note: Callable[[str], None],
    build: Build,
) -> int:
    """Time the architectures one after the other; each is recorded before the next begins.

    Args:
        trials: what to time.
        target: on what.
        record: keeps one timing.
        note: told why a trial could not be timed; the others still are.
        build: what builds their networks.

    Returns:
        How many could not be timed.
    """
    lock = DeviceLock(device_identity(target.device))
    failed = 0
    for trial in trials:
        try:
            latency = measure(build(trial.spec, 0.0), target, input_shape(trial.spec), lock)
        except (NasError, RuntimeError, MemoryError) as error:
            if not isinstance(error, NasError) and not is_out_of_memory(error):
                raise
            failed += 1
            note(f"trial {trial.trial_number} cannot be timed: {first_line(error, 'out of memory')}")
        else:
            record(trial, latency)
    return failed
