"""Train finalists with Ray Tune: many at a time, retries after lost workers, ASHA among the tunings of one
architecture.

What has ended is handed over at once, and every training keeps its own checkpoint (workers/finalists/training.py). An
interrupted run goes on from these, and not from Tune's snapshot of the experiment, which is seconds old and lacks the
state of ASHA (docs/adr/0005).
"""

import os
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from nas.errors import EvaluatorError, InvalidInputError
from nas.finalists.plan import FinalJob
from nas.protocols import Failed
from nas.records import FinalState, FinalTraining, KeptWeights, ProcessId, RungScore
from workers.cluster.actor import Work
from workers.cluster.failures import describe, reason_of
from workers.cluster.joining import join_cluster
from workers.cluster.nodes import WORKERS_TIMEOUT_S, Nodes, no_worker_left
from workers.cluster.session import start_local
from workers.cluster.session_processes import end_processes, session_processes
from workers.evaluate import EvaluationContext, calibrate, evaluate
from workers.evaluation import EvaluationConfig
from workers.finalists.training import checkpoint_path, train_finalist, weights_path
from workers.processes import environment, signals_kept
from workers.recipe import Recipe

MAX_RETRIES = 2
"""How often a training is begun again whose worker or machine failed; it goes on from its checkpoint."""
KEEP = 2
"""At each rung but the last, one of so many tunings of an architecture goes on."""
FINALISTS = "finalists"
"""Folder of their weights and checkpoints among the artifacts."""
_QUIET = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # on Ctrl-C Tune would end as if all were done
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # its files are not used
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output is never silent
}


class FinalistTrainer:
    """Ray, here or in a cluster, that trains finalists. Construct it in the main thread: a local Ray dies with the
    thread that started it.

    Args:
        config: of the data and the device; its recipe may differ from those of the jobs in learning rate, weight decay
            and drop path only.
        artifacts: folder of weights, which every node must see under the same path.
        study_folder: name of the study's own folder among the finalists of the artifacts
            (nas.workspace.study_folder).
        num_workers: trainings at a time, each with one CPU and `gpus_per_worker`.
        gpus_per_worker: may be a fraction; 0 trains on the CPU.
        say: takes lines about nodes of the cluster that leave and come.
        ray_address: of an existing cluster ("auto" or HOST:PORT); None starts a local Ray.
        workers_timeout_s: how long to wait for a node of the cluster when none is left.

    Raises:
        InvalidInputError: if this host has not the GPUs, or nothing answers at the address.
        EvaluatorError: if Ray does not start, or a node of the cluster cannot do the work.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        artifacts: Path,
        study_folder: str,
        *,
        num_workers: int,
        gpus_per_worker: float,
        say: Callable[[str], None],
        ray_address: str | None = None,
        workers_timeout_s: float = WORKERS_TIMEOUT_S,
    ) -> None:
        assert not ray.is_initialized(), "one Ray at a time in one process"
        self._config = config
        self._artifacts = artifacts
        self._folder = artifacts / FINALISTS / study_folder
        self._num_workers = num_workers
        self._gpus = gpus_per_worker
        self._say = say
        self._workers_timeout_s = workers_timeout_s
        self._nodes: Nodes | None = None
        """Those of the cluster; None for a local Ray."""
        self._had_room = time.monotonic()
        """When a node with room was there last."""
        self.session_folder = ""
        """Folder of the local Ray; empty in a cluster."""
        if ray_address is None:
            self.session_folder = start_local(num_workers, gpus_per_worker)
            self._tune_folder = Path(self.session_folder) / "tune"
        else:
            self._tune_folder = self._folder / ".tune"
            join_cluster(ray_address)
            try:
                self._check_nodes()
            except BaseException:
                self.close()
                raise

    def _check_nodes(self) -> None:
        """Ray Tune spreads the trainings over the nodes as it likes: each that has room must be able to do them."""
        mark = self._folder / f".seen-by-{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
            self._nodes = Nodes(self._gpus, probing_work, (self._config, str(mark.resolve())), None)
            self._nodes.require_all(self._num_workers)
        except OSError as error:
            raise InvalidInputError(
                f"{self._folder} cannot be written ({error.strerror}); give another --artifacts"
            ) from error
        finally:
            mark.unlink(missing_ok=True)
        if self._nodes.room < self._num_workers:
            self._say(f"the cluster has room for {self._nodes.room} of {self._num_workers} workers")

    def _tend(self) -> None:
        """Follow the nodes of the cluster.

        Raises:
            EvaluatorError: if its head is lost, or no node came for as long as was stated.
        """
        if self._nodes is None:
            return
        for line in self._nodes.refresh():
            self._say(line)
        if self._nodes.room:
            self._had_room = time.monotonic()
        elif time.monotonic() - self._had_room > self._workers_timeout_s:
            raise no_worker_left(self._workers_timeout_s, self._nodes.problems)

    @property
    def session_processes(self) -> tuple[ProcessId, ...]:
        """Every process of the local Ray as of now; none in a cluster, where Ray itself ends what a dead coordinator
        left."""
        return session_processes(self.session_folder) if self.session_folder else ()

    def train(
        self, jobs: Sequence[FinalJob], ended: Sequence[FinalTraining], record: Callable[[FinalTraining], None]
    ) -> None:
        """Do the jobs; nas.finalists.run.Train.

        Args:
            jobs: of one purpose and number of rungs.
            ended: trainings wanted with them that ended in earlier runs; the tunings compete with their scores too.
            record: called in this thread for each training that ends; what it raises ends the run.

        Raises:
            EvaluatorError: if some could not be done, after all others are.
            NasError: what `record` raises.
        """
        by_key = {job.key: job for job in jobs}
        rungs = Recipe.from_json(jobs[0].recipe).rungs
        scheduler = None if jobs[0].final else AshaPerArchitecture(len(rungs), ended)
        watch = _Watch(by_key, self._finished(record), self._tend)
        trainable: Any = tune.with_resources(_train, {"cpu": 1, "gpu": self._gpus})
        self._folder.mkdir(parents=True, exist_ok=True)
        for training in ended:  # a kill may have come between record and removal
            checkpoint_path(self._folder, training.key).unlink(missing_ok=True)
        with environment(_QUIET):
            results = tune.Tuner(
                trainable,
                param_space={
                    "job": tune.grid_search([asdict(job) for job in jobs]),
                    "config": self._config.to_json(),
                    "folder": str(self._folder.resolve()),
                },
                # A worker for each training costs seconds. Over workers that it reused, Tune gave up trainings, and
                # hung, on a busy host.
                tune_config=tune.TuneConfig(scheduler=scheduler, max_concurrent_trials=self._num_workers),
                run_config=tune.RunConfig(
                    storage_path=str(self._tune_folder.resolve()),
                    failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
                    callbacks=[watch],
                    verbose=0,
                ),
            ).fit()
        watch.hand_over()
        if undone := [key for key in by_key if key not in watch.handed_over]:
            reason = _reason(results, undone[0])
            raise EvaluatorError(
                f"{len(undone)} trainings could not be done: {undone[0]}: {reason}; the same command tries them again"
            )

    def _finished(self, record: Callable[[FinalTraining], None]) -> "Callable[[FinalJob, _Progress], None]":
        def finished(job: FinalJob, progress: _Progress) -> None:
            complete = progress.last and progress.reason is None
            weights = None
            if complete and job.final:
                path = weights_path(self._folder, job.key).relative_to(self._artifacts)
                assert progress.weights_sha256 is not None, "a final training that is complete keeps its weights"
                weights = KeptWeights(path.as_posix(), progress.weights_sha256)
            record(
                FinalTraining(
                    trial_number=job.trial_number,
                    recipe=job.recipe,
                    recipe_hash=job.recipe_hash,
                    seed=job.seed,
                    purpose=job.purpose,
                    state=progress.state,
                    reason=progress.reason,
                    rungs=tuple(progress.scores[rung] for rung in sorted(progress.scores)),
                    test_top1=progress.test_top1,
                    weights=weights,
                    device=progress.device,
                )
            )
            checkpoint_path(self._folder, job.key).unlink(missing_ok=True)

        return finished

    def close(self) -> None:
        """End every process of the local Ray and remove its folder; a cluster goes on."""
        if self._nodes is not None:
            self._nodes.close()
        processes = self.session_processes
        with signals_kept():
            ray.shutdown()
        end_processes(processes, self.session_folder)
        shutil.rmtree(self._tune_folder, ignore_errors=True)


@dataclass(slots=True)
class _Progress:
    """What a training has reported."""

    scores: dict[int, RungScore]
    last: bool = False
    weights_sha256: str | None = None
    test_top1: float | None = None
    reason: str | None = None
    device: str = ""

    @property
    def state(self) -> FinalState:
        """How it ended, in Optuna's words."""
        if self.reason is not None:
            return "FAIL"
        return "COMPLETE" if self.last else "PRUNED"


class _Watch(tune.Callback):
    """Follows the trainings in the process that started them."""

    def __init__(
        self,
        jobs: Mapping[str, FinalJob],
        finished: Callable[[FinalJob, _Progress], None],
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._finished = finished
        self._tend = tend
        self._progress: dict[str, _Progress] = defaultdict(lambda: _Progress({}))
        self._over: list[tuple[FinalJob, _Progress]] = []
        self.handed_over: set[str] = set()
        """Keys of the trainings that have ended."""

    def __reduce__(self) -> Any:
        """Tune writes all its arguments to a file from which another process might restore them. This one is of use
        here only."""
        return tune.Callback, ()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        progress = self._progress[trial.trial_id]
        if result["score"] is not None:
            score = RungScore(**result["score"])
            progress.scores[score.rung] = score
        progress.last = result["last"]
        progress.weights_sha256 = result["weights_sha256"]
        progress.test_top1 = result["test_top1"]
        progress.reason = result["reason"]
        progress.device = result["device"]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._over.append((self._jobs[_job_of(trial.config).key], self._progress[trial.trial_id]))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.hand_over()
        self._tend()

    def hand_over(self) -> None:
        """Not in on_trial_complete: an exception there, such as that of a full disk, Tune takes for one of the training
        and tries again."""
        while self._over:
            job, progress = self._over.pop(0)
            self._finished(job, progress)
            self.handed_over.add(job.key)


def _reason(results: tune.ResultGrid, key: str) -> str:
    """Why the training of this key could not be done, in one line."""
    for number in range(len(results)):
        result = results[number]
        if result.config and _job_of(result.config).key == key and result.error:
            return reason_of(result.error) if isinstance(result.error, RayError) else describe(result.error)
    return "Ray Tune gives no reason"


def _job_of(config: dict[str, Any]) -> FinalJob:
    return FinalJob(**config["job"])


class AshaPerArchitecture(FIFOScheduler):
    """Asynchronous successive halving (Ray's ASHA) among the tunings of each architecture: a small network never
    competes with a large one.

    Time is counted in rungs, so that the rungs may lie at any steps: the k-th one is at time KEEP ** k. The last one
    that stands is never stopped: what it lost to may be a training that a kill cut off, or that failed, and then no
    tuning would be whole.
    """

    def __init__(self, num_rungs: int, ended: Sequence[FinalTraining]) -> None:
        """`ended` counts at the rungs that it reached, as if it had been trained in this run."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._num_rungs = num_rungs
        self._schedulers: dict[int, ASHAScheduler] = {}
        self._standing: defaultdict[int, set[str]] = defaultdict(set)
        """Trial number -> its tunings that were neither stopped nor failed."""
        for training in ended:
            if training.purpose == "tuning" and training.state == "COMPLETE":
                self._standing[training.trial_number].add(training.key)
            if training.purpose == "tuning":
                stand_in: Any = SimpleNamespace(trial_id=training.key)
                asha: Any = self._of(training.trial_number)
                asha.on_trial_add(None, stand_in)
                for score in training.rungs:
                    asha.on_trial_result(None, stand_in, {"milestone": milestone(score.rung), "top1": score.top1})

    def _of(self, trial_number: int) -> ASHAScheduler:
        if trial_number not in self._schedulers:
            self._schedulers[trial_number] = ASHAScheduler(
                time_attr="milestone",
                metric="top1",
                mode="max",
                grace_period=1,
                max_t=milestone(self._num_rungs - 1),
                reduction_factor=KEEP,
            )
        return self._schedulers[trial_number]

    def _asha(self, trial: Trial) -> ASHAScheduler:
        return self._of(trial.config["job"]["trial_number"])

    def _standing_with(self, trial: Trial) -> set[str]:
        return self._standing[trial.config["job"]["trial_number"]]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._standing_with(trial).add(trial.trial_id)
        self._asha(trial).on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._standing_with(trial).discard(trial.trial_id)
        self._asha(trial).on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision = self._asha(trial).on_trial_result(tune_controller, trial, result)
        standing = self._standing_with(trial)
        if result.get("reason") is not None:
            standing.discard(trial.trial_id)
        elif decision == self.STOP and result["milestone"] < milestone(self._num_rungs - 1):
            if standing == {trial.trial_id}:
                return self.CONTINUE
            standing.discard(trial.trial_id)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._asha(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._asha(trial).on_trial_remove(tune_controller, trial)


def milestone(rung: int) -> int:
    """Time of a rung for ASHA, 1 for the first."""
    return int(KEEP**rung)


def probing_work() -> Work:
    """What shows whether finalists can be trained on a node: it opens the data, and sees the folder of the
    checkpoints."""

    def open_and_look(config: tuple[EvaluationConfig, str], worker: str) -> None:
        evaluation, mark = config
        if not Path(mark).exists():
            raise InvalidInputError(
                f"{Path(mark).parent} is another folder there; give --artifacts on a file system that all nodes share"
            )
        EvaluationContext(evaluation, worker)

    return Work(open_and_look, evaluate, calibrate, lambda context: None)


def _train(config: dict[str, Any]) -> None:
    """A training in a worker: reports every rung, and a failure that is the architecture's own. Others are raised, and
    tried again."""
    job = _job_of(config)
    context = _context(EvaluationConfig.from_json(config["config"]))
    for event in train_finalist(job, context, Path(config["folder"])):
        if isinstance(event, Failed):
            if event.retryable:
                raise MemoryError(event.reason)
            tune.report(
                {
                    **_result(context, last=True),
                    "reason": event.reason,
                    "milestone": milestone(len(job.recipe["rungs"]) - 1),
                    "top1": 0.0,
                }
            )
            return
        score = event.score
        tune.report(
            {
                **_result(context, last=event.last),
                "score": asdict(score),
                "weights_sha256": event.weights_sha256,
                "test_top1": event.test_top1,
                "milestone": milestone(score.rung),
                "top1": score.top1,
            }
        )


def _result(context: EvaluationContext, *, last: bool) -> dict[str, Any]:
    return {
        "score": None,
        "last": last,
        "weights_sha256": None,
        "test_top1": None,
        "reason": None,
        "device": context.device_name,
    }


@lru_cache(maxsize=1)
def _context(config: EvaluationConfig) -> EvaluationContext:
    """Opened once per process."""
    return EvaluationContext(config, f"worker {os.getpid()}")
