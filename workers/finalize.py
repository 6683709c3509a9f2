"""Train the best of a study fully: the body of `launch.py finalize`."""

import contextlib
import functools
import math
from dataclasses import dataclass
from pathlib import Path

from nas.backoff import NO_WAITING, Backoff
from nas.caller import Caller
from nas.config import STORAGE_TIMEOUT_S, check_storage_timeout
from nas.errors import InvalidInputError
from nas.files import check_folder
from nas.finalists.plan import MIN_SEEDS, Finals, choose_finalists
from nas.finalists.run import run_finals
from nas.protocols import Store
from nas.records import JSON, FinalFront, StudyRecord, facts_by_number
from nas.search.ownership import owned
from nas.workspace import study_folder
from search_spaces.registry import building_module
from workers.cluster.session_processes import end_processes
from workers.data.registry import open_study_data, prepare_data
from workers.data.source import DataSource
from workers.devices import default_gpus_per_worker, default_num_workers, device_of_worker, fitting_workers
from workers.evaluation import EvaluationConfig
from workers.finalists.tune import FINALISTS, FinalistTrainer
from workers.training.distillation import locate
from workers.training.recipes import final_recipe, variants

MOST = {"seeds": 1000, "samples": 1000}
"""Larger numbers are mistakes."""


@dataclass(kw_only=True, frozen=True, slots=True)
class FinalizeConfig:
    """What to train and how.

    Raises:
        InvalidInputError: for a value that cannot be used.
    """

    data: str | None = None
    """Where the data of the study lie; None for where they lay when it was created."""
    cache: str | None = None
    """Folder under which decoded images are kept, see EvaluationConfig."""
    top: int = 8
    """How many members of the front to train."""
    recipe: str | None = None
    """A recipe's name or a JSON file; eight times the search's steps by default."""
    teacher: str | None = None
    """A folder that `export` wrote, or a pretrained model of timm with the same classes; None for none."""
    seeds: int = 3
    """Trainings of each at its best settings."""
    samples: int = 8
    """Settings of the recipe to try for each."""
    workers: int | None = None
    """Concurrent trainings; one per GPU, else one per core, by default."""
    gpus_per_worker: float | None = None
    """Share of a GPU for each worker; 1 with GPUs, else 0, by default."""
    ray_address: str | None = None
    """Address of a running Ray cluster; None starts a local one."""
    storage_timeout_s: float = STORAGE_TIMEOUT_S
    """How long the finalization waits for a database or a disk that cannot be used; 0 for not at all."""

    def __post_init__(self) -> None:
        check_storage_timeout(self.storage_timeout_s)
        least = {"top": 1, "seeds": MIN_SEEDS, "samples": 1, "workers": 1, "gpus_per_worker": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and not minimum <= value <= MOST.get(name, math.inf):
                raise InvalidInputError(
                    f"--{name.replace('_', '-')} is {value}; expected a number, at least {minimum}"
                    + (f" and at most {MOST[name]}" if name in MOST else "")
                )


def finalize(
    study: StudyRecord,
    store: Store,
    config: FinalizeConfig,
    artifacts: Path,
    log_file: Path,
    caller: Caller,
    backoff: Backoff = NO_WAITING,
) -> FinalFront:
    """Train what is not recorded yet of a study's finalists, under its lease; record and return the final front.

    Args:
        study: the study.
        store: open.
        config: what to train and how.
        artifacts: folder of weights.
        log_file: of the study.
        caller: who asks for it.
        backoff: how long an outage of the database is waited for; the store shares it.

    Raises:
        InvalidInputError: if the study has no front yet; if recipe, teacher or data cannot be used, or the data are
            not those of the study; if this host has not the GPUs, or the artifacts cannot be written.
        StudyLockedError: if another living process owns the study.
        NasError: if the database fails, or the trainings.
    """
    workers = config.workers or default_num_workers()
    gpus = default_gpus_per_worker(workers) if config.gpus_per_worker is None else config.gpus_per_worker
    if config.ray_address is None:  # the nodes of a cluster are asked when it is joined
        workers = fitting_workers(workers, gpus)
    facts = facts_by_number(store.facts(study.name))
    finalists = choose_finalists(study, store.front(study.name), facts, config.top)
    source = open_study_data(study, config.data, config.cache)
    evaluation = _evaluation(study, source, config, gpus, finalists[0].spec)
    tried = variants(evaluation.recipe, config.samples, study.seed)
    finals = Finals(study, finalists, tried, config.seeds, "test" if source.num_test else "validation")
    workers = min(workers, finals.most_at_once(store.final_trainings(study.name)))
    check_folder(artifacts / FINALISTS, "--artifacts", finals.num_bytes(workers))

    def start() -> FinalistTrainer:
        return FinalistTrainer(
            evaluation,
            artifacts.resolve(),
            study_folder(study.name, study.uid),
            num_workers=workers,
            gpus_per_worker=gpus,
            say=caller.say,
            ray_address=config.ray_address,
        )

    with (
        owned(store, study.name, end_processes, caller.say, backoff) as ownership,
        contextlib.ExitStack() as opened,
    ):
        caller.keep_log(log_file)

        @functools.cache
        def trainer() -> FinalistTrainer:
            made = opened.enter_context(caller.signals.closing(start))
            ownership.note_session(lambda: (made.session_processes, made.session_folder))
            return made

        caller.say("\n".join(finals.plan(source.num_test, workers)))
        if config.ray_address is None:  # the nodes of a cluster have disks of their own
            prepare_data(source, config.cache, caller.say)
        return run_finals(finals, store, lambda *jobs: trainer().train(*jobs), caller.say, ownership.check)


def _evaluation(
    study: StudyRecord, source: DataSource, config: FinalizeConfig, gpus: float, spec: JSON
) -> EvaluationConfig:
    return EvaluationConfig(
        data=source.text,
        recipe=final_recipe(config.recipe, study.recipe, source, config.teacher),
        data_fingerprint=study.data_fingerprint,
        data_facts=study.data_facts,
        device=device_of_worker(gpus),
        cache=config.cache,
        teacher=locate(config.teacher) if config.teacher else None,
        space_module=building_module(study, spec),
    )
