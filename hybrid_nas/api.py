"""Search, and open what was searched, from Python. docs/guide/python.md shows how.

    from hybrid_nas import api

    study = api.search(space="hybrid_layout", budget=200)
    study.pareto()

Whatever fails for a reason that a user can act on raises a nas.errors.NasError. What is slow to import is imported by
the function that needs it.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.systems import lacking

if (_lacking := lacking(sys.platform)) is not None:
    raise ImportError(_lacking)

from nas.config import STORAGE_TIMEOUT_S
from nas.protocols import SearchSpace
from nas.records import JSON
from nas.search.events import OnEvent, ignore

if TYPE_CHECKING:
    from hybrid_nas.study import Study
    from nas.reports.status import StudySummary


def search(
    *,
    space: str | SearchSpace,
    budget: int,
    study: str | None = None,
    storage: str | None = None,
    artifacts: str | Path | None = None,
    data: str = "digits",
    cache: str | Path | None = None,
    scale: str = "nano",
    mixers: str | Sequence[str] | None = None,
    objectives: str | Sequence[str] = "top1,latency_ms",
    latency_target: str | Sequence[str] = (),
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    sampler: str = "ehvi",
    seed: int = 0,
    max_latency_ms: float | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
    recipe: str | None = None,
    rungs: int = 1,
    keep: float = 0.5,
    max_hours: float | None = None,
    patience: int | None = None,
    trial_timeout_s: float = 3600.0,
    warm_start: str = "presets",
    scores: str | Path | None = None,
    ray_address: str | None = None,
    storage_timeout_s: float = STORAGE_TIMEOUT_S,
    notify: str | None = None,
    quiet: bool = False,
    evaluate: Callable[[JSON], float | tuple[float, float]] | None = None,
    on_event: OnEvent = ignore,
) -> "Study":
    """Search until the budget is reached, nothing new is left, or patience or time is out. The same call continues.

    Ctrl-C, SIGTERM and SIGHUP in the main thread end a search in order: its state is saved, then KeyboardInterrupt is
    raised. Workers are processes of Ray, which a search starts and ends.

    Args:
        space: name of a search space; with `evaluate` also a space itself (nas.protocols.SearchSpace).
        budget: distinct architectures to evaluate in the study, earlier runs included.
        study: name of the study, SPACE-SCALE-DATA by default; the same name continues it.
        storage: database URL; the variable NAS_STORAGE, or sqlite:///runs/nas.db, by default.
        artifacts: folder of weights and drawings; beside the database by default.
        data: digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE.
        cache: folder under which decoded images are kept for all workers of a node; beside the database by default, and
            with a ray_address in the temporary folder of each node.
        scale: nano, mobile, tiny, small or base.
        mixers: what the space may choose among: names of mixers and feed-forwards, or of the sets core, efficient and
            all; by default what `launch.py spaces` shows.
        objectives: top1 and one of latency_ms, macs, param_count.
        latency_target: what latency is measured on, such as "cpu:threads=1,batch=1"; of several the first is the
            objective.
        workers: concurrent evaluations; one per GPU, else one per core, by default.
        gpus_per_worker: share of a GPU for each worker; 1 with GPUs, else 0, by default.
        sampler: who proposes architectures.
        seed: of the sampler and of every training.
        max_latency_ms: reject slower candidates before training.
        max_params: reject larger candidates before training.
        max_macs: reject costlier candidates before training.
        recipe: how candidates are trained: a name, or a JSON file; by default what suits the data.
        rungs: scores in each training; at all but the last, the worse candidates are stopped.
        keep: with more than one rung, share of the candidates that goes on from each.
        max_hours: stop after this time.
        patience: stop when this many evaluations in a row added nothing to the hypervolume.
        trial_timeout_s: replace a worker that makes no progress for this long.
        warm_start: presets: published layouts; study:NAME: what that one found; none.
        scores: what may rank architectures as training does: training-free scores by name, with commas, a JSON or CSV
            file of numbers, or both.
        ray_address: running Ray cluster to use; a local one is started by default.
        storage_timeout_s: wait this long for a database or a disk that cannot be used.
        notify: URL that is told the end, a failure and how the front grows (hybrid_nas.notifying).
        quiet: print nothing.
        evaluate: evaluates an architecture in this process, instead of workers: its spec (JSON) -> top1 in [0, 1];
            with the objective latency_ms or the limit max_latency_ms -> (top1, milliseconds). What it raises makes the
            trial fail, and the search goes on. Neither Ray nor torch is imported for it.
        on_event: hears every event of nas.search.events, in this thread. What it raises ends the search, whose state
            is saved.

    Returns:
        A handle on the study; its `outcome` says how the search ended.

    Raises:
        InvalidInputError: if an argument cannot be used.
        StudyMismatchError: if the study exists with other settings.
        StudyLockedError: if another living process owns the study.
        SearchAbortedError: if evaluations keep failing.
        NasError: if database, disk or workers fail.
    """
    from hybrid_nas import parts
    from hybrid_nas.calling import called_from_python
    from hybrid_nas.study import Study

    url, folder = parts.located(storage, artifacts)
    given = {
        "space": space,
        "budget": budget,
        "study": study,
        "storage": url,
        "artifacts": folder,
        "data": data,
        "cache": cache,
        "scale": scale,
        "mixers": mixers if mixers is None or isinstance(mixers, str) else ",".join(mixers),
        "objectives": objectives,
        "latency_target": latency_target,
        "workers": workers,
        "gpus_per_worker": gpus_per_worker,
        "sampler": sampler,
        "seed": seed,
        "max_latency_ms": max_latency_ms,
        "max_params": max_params,
        "max_macs": max_macs,
        "recipe": recipe,
        "rungs": rungs,
        "keep": keep,
        "max_hours": max_hours,
        "patience": patience,
        "trial_timeout_s": trial_timeout_s,
        "warm_start": warm_start,
        "scores": None if scores is None else str(scores),
        "ray_address": ray_address,
        "storage_timeout_s": storage_timeout_s,
        "notify": notify,
    }
    with called_from_python(silent=quiet) as caller:
        name, outcome = parts.search(given, caller, quiet=quiet, silent=quiet, evaluate=evaluate, on_event=on_event)
    if outcome.interrupted:
        raise KeyboardInterrupt
    own_space = None if isinstance(space, str) else space
    return Study(name, url, folder, own_space, outcome)


def open_study(
    name: str | None = None,
    *,
    storage: str | None = None,
    artifacts: str | Path | None = None,
    space: SearchSpace | None = None,
) -> "Study":
    """A study that a search has recorded.

    Args:
        name: of the study; may be left out where the database has only one.
        storage: database URL; the variable NAS_STORAGE, or sqlite:///runs/nas.db, by default.
        artifacts: folder of weights and drawings; beside the database by default.
        space: what was searched, for `explain`, where it was a space of your own.

    Raises:
        InvalidInputError: if there is no database or no such study.
    """
    from hybrid_nas.study import find_study

    return find_study(name, storage, artifacts, space)


def studies(storage: str | None = None) -> "list[StudySummary]":
    """How each study of a database stands, by creation.

    Args:
        storage: database URL; the variable NAS_STORAGE, or sqlite:///runs/nas.db, by default.

    Raises:
        InvalidInputError: if there is no database.
    """
    from hybrid_nas.study import summaries

    return summaries(storage)
