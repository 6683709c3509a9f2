"""A recorded study from Python: what the commands of launch.py show and do, as methods."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_nas import parts
from hybrid_nas.calling import called_from_python
from hybrid_nas.shown import Explained, Shown
from nas.backoff import NO_WAITING, Backoff
from nas.caller import Caller
from nas.config import EARLIER_STUDY, STORAGE_TIMEOUT_S, check_kinds, check_storage_timeout
from nas.errors import InvalidInputError, NasError
from nas.files import user_file, user_folder
from nas.finalists.front import final_front_faults
from nas.pareto.history import History, history_of
from nas.pareto.picks import pick_study
from nas.pareto.places import latest, places
from nas.pareto.targets import on_target
from nas.protocols import SearchSpace
from nas.records import FinalFront, Front, StudyRecord, TrialFacts, facts_by_number
from nas.reports.exports import exports_text
from nas.reports.final_fronts import final_front_text
from nas.reports.retimings import retimings_text
from nas.reports.status import StudySummary, status_text, summarize
from nas.reports.views import final_view, front_view, history_view
from nas.search.given_scores import given_scores, known_scores
from nas.search.loop import Outcome
from nas.search.scoring import recorded_sample
from nas.search.study import Storage, recorded_genotypes, recorded_trust, recorded_values
from nas.surrogates.scores import ArchitectureScore
from nas.workspace import Workspace, study_folder

if TYPE_CHECKING:
    import pandas as pd

    from db.store import SqlStore
    from nas.analysis.audit import Audit
    from workers.export import Exported
    from workers.profile import Profiled


@dataclass(frozen=True, slots=True)
class Status:
    """How a study stands."""

    summary: StudySummary
    lines: tuple[str, ...]
    """What people read."""
    problems: tuple[str, ...]
    """Where recorded fronts differ from the facts; empty when they are equal."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Study:
    """A study of a database. It holds no connection: every method opens the database, and closes it."""

    name: str
    storage: str = field(repr=False)
    """URL of the database; it may hold a password."""
    artifacts: str | None = None
    """Folder of weights and drawings; None for the one beside the database."""
    space: SearchSpace | None = field(default=None, repr=False)
    """What was searched, where its name alone does not give it."""
    outcome: Outcome | None = None
    """How the search ended that gave this handle; None for one that was opened."""
    caller: Caller | None = field(default=None, repr=False)
    """Who works with it, where that is not a Python program but the command line."""

    @property
    def workspace(self) -> Workspace:
        """Where its files lie."""
        return parts.workspace_of(self.storage, self.artifacts)

    @property
    def record(self) -> StudyRecord:
        """What the study is: space, data, objectives, recipe, limits, seed."""
        with self._opened() as (_, record):
            return record

    @property
    def trials(self) -> tuple[TrialFacts, ...]:
        """Every recorded trial, in the order in which they ended."""
        with self._opened() as (store, _):
            return tuple(store.facts(self.name))

    @property
    def front(self) -> Front | None:
        """The latest front; None while no trial has finished."""
        with self._opened() as (store, _):
            return store.front(self.name)

    @property
    def final_front(self) -> FinalFront | None:
        """The latest final front; None before `finalize`."""
        with self._opened() as (store, _):
            return store.final_front(self.name)

    def trials_frame(self) -> "pd.DataFrame":
        """The trials as a table of pandas: one row per trial, its genes in columns `gene_NAME`.

        Raises:
            NasError: if pandas is not installed.
        """
        from hybrid_nas.frames import trials_frame

        with self._opened() as (store, _), parts.optuna_storage(self.storage) as storage:
            return trials_frame(list(store.facts(self.name)), recorded_genotypes(storage, self.name))

    def pareto(self, latency_target: str | None = None) -> Shown[Front]:
        """The front.

        Args:
            latency_target: give the front on this target, from what `profile` timed; None for the study's own.

        Raises:
            InvalidInputError: if nothing was timed on the target.
            NasError: if no trial has finished.
        """
        with self._opened() as (store, study):
            facts: Sequence[TrialFacts] = list(store.facts(self.name))
            front = store.front(self.name)
            retimings = store.retimings(self.name)
            if latency_target is not None:
                timed = on_target(study, facts, store.timings(self.name), _target_settings(latency_target))
                study = timed.study
                front = timed.front
                facts = timed.facts
        if front is None:
            raise self._no_front()
        again = places(front, facts, latest(retimings, study.target))
        return Shown(front, front_view(front, facts, study, again))

    def final_pareto(self) -> Shown[FinalFront]:
        """The final front of `finalize`, with spread, intervals and probability of all finalists.

        Raises:
            NasError: if there is none yet.
        """
        with self._opened() as (store, study):
            facts = list(store.facts(self.name))
            front = store.front(self.name)
            final = store.final_front(self.name)
        if front is None:
            raise self._no_front()
        if final is None:
            raise NasError(f"study {study.name!r} has no final front yet; `launch.py finalize {self._words}` makes one")
        return Shown(final, final_view(final, facts, study))

    def history(self, latency_target: str | None = None) -> Shown[History]:
        """How the hypervolume grew.

        Args:
            latency_target: on this target, from what `profile` timed; None for the study's own.

        Raises:
            InvalidInputError: if nothing was timed on the target.
        """
        with self._opened() as (store, study):
            facts: Sequence[TrialFacts] = list(store.facts(self.name))
            if latency_target is not None:
                timed = on_target(study, facts, store.timings(self.name), _target_settings(latency_target))
                study = timed.study
                facts = timed.history
        history = history_of(facts, study.cost_objective, study.reference_point)
        return Shown(history, history_view(history, study))

    def status(self) -> Status:
        """How the study stands, and whether its recorded fronts equal its facts."""
        with self._opened() as (store, study):
            facts = list(store.facts(self.name))
            summary = summarize(study, facts, store.front(self.name), store.lease(self.name))
            again = retimings_text(study, facts, store.timings(self.name), store.retimings(self.name))
            exported = exports_text(store.exports(self.name))
            problems = store.check_fronts(self.name)
            final = store.final_front(self.name)
            if final is not None:
                problems += final_front_faults(final, store.final_trainings(self.name))
        lines = [status_text(summary), *(f"again         {line}" for line in again)]
        lines += [f"score         {line}" for line in self._score_lines(summary.study, facts)]
        lines += [f"exported      {line}" for line in exported]
        if final is not None:
            lines += [final_front_text(final, facts_by_number(facts), study), ""]
        lines += problems or ["front check   the recorded front equals the facts"]
        return Status(summary, tuple(lines), tuple(problems))

    def _score_lines(self, study: StudyRecord, facts: Sequence[TrialFacts]) -> Sequence[str]:
        """What each score of the search was worth."""
        if not facts or not _has_scores(study):
            return ()
        from nas.analysis.score_reports import score_reports, score_text

        with self._opened() as (store, _), parts.optuna_storage(self.storage) as storage:
            genotypes = recorded_genotypes(storage, self.name)
            values = recorded_values(storage, self.name)
            try:
                space = self.space or parts.recorded_space(study, values, facts, genotypes)
            except InvalidInputError as error:
                return (f"not judged: {error}",)
            scores, missing = _scores_of(study, space, store, storage)
            trusted = recorded_trust(storage, self.name)
        return [*map(score_text, score_reports(scores, space.genes, facts, genotypes, trusted)), *missing]

    def explain(self, trial: int | None = None) -> Explained:
        """Which genes drive top1 and cost, and how the front came about.

        Args:
            trial: also predict what changing one gene of this trial does.

        Raises:
            InvalidInputError: if there is no such trial that finished, or the space is not the recorded one.
            NasError: if the study has too few trials.
        """
        from nas.analysis.explain import explain
        from nas.analysis.score_reports import score_reports

        check_kinds({"trial": trial})
        with self._opened() as (store, study), parts.optuna_storage(self.storage) as storage:
            front = store.front(self.name)
            facts = list(store.facts(self.name))
            genotypes = recorded_genotypes(storage, self.name)
            values = recorded_values(storage, self.name)
            if not facts:
                raise NasError(f"study {study.name!r} has no trials yet; look at `launch.py status {self._words}`")
            space = self.space or parts.recorded_space(study, values, facts, genotypes)
            scores, missing = _scores_of(study, space, store, storage)
            trusted = recorded_trust(storage, self.name) if scores else {}
        reports = score_reports(scores, space.genes, facts, genotypes, trusted)
        explanation = explain(space, study, facts, front, genotypes, trial, reports)
        return Explained(replace(explanation, warnings=(*explanation.warnings, *missing)))

    def audit(
        self,
        *,
        data: str | None = None,
        cache: str | Path | None = None,
        count: int = 12,
        times: int | None = None,
        recipe: str | None = None,
        seed: int | None = None,
        workers: int | None = None,
        quiet: bool = False,
    ) -> "Audit":
        """Train a sample of its architectures fully, and say how well the search ranks them.

        Args:
            data: where its data lie; where they lay when it was created, by default.
            cache: folder under which decoded images are kept; as in a search by default.
            count: architectures of all ranks to train.
            times: length of the final training in those of the search; 8 by default.
            recipe: train by this recipe instead: a name, or a JSON file.
            seed: of the final trainings; the search's plus 1000 by default.
            workers: trainings at a time; one per GPU, else one per core, by default.
            quiet: print nothing.

        Raises:
            InvalidInputError: if recipe or data cannot be used, or the study was not trained on data.
            NasError: if too few trials can be audited.
        """
        from nas.analysis.audit_log import AuditLog
        from workers.audit import AuditConfig, audit_study

        given = {"data": data, "count": count, "times": times, "recipe": recipe, "seed": seed, "workers": workers}
        check_kinds(given)
        config = AuditConfig(
            data=data,
            cache=self._cache(cache),
            count=count,
            times=times,
            recipe=recipe,
            seed=seed,
            workers=workers,
        )
        with self._opened() as (store, study):
            facts = list(store.facts(self.name))
        parts.require_networks(study)
        log = AuditLog(self.workspace.artifacts, study_folder(study.name, study.uid))
        with self._working(quiet) as caller:
            return audit_study(study, facts, config, log, caller.say)

    def export(
        self,
        pick: str = "knee",
        zoo: str | Path = "zoo",
        *,
        name: str | None = None,
        onnx: bool = False,
        retrain: bool = False,
        data: str | None = None,
        cache: str | Path | None = None,
        overwrite: bool = False,
    ) -> "Exported":
        """Write a trial to a model zoo that plain timm loads.

        Args:
            pick: which trial: knee, accuracy, latency, trial:N (a number) or latency:MS (milliseconds).
            zoo: folder of the zoo.
            name: of the model; STUDY-tN by default.
            onnx: add a checked ONNX file.
            retrain: train it again as the search did, where its weights were not kept.
            data: where its data lie, to train on; where they lay when it was created, by default.
            cache: folder under which decoded images are kept; as in a search by default.
            overwrite: replace a model of that name.

        Raises:
            InvalidInputError: if there is no such trial, its weights were not kept, or the name is taken.
            NasError: if a training that was asked for fails.
        """
        from workers.export import ExportConfig, export

        check_kinds({"pick": pick, "name": name, "data": data})
        config = ExportConfig(
            pick=pick,
            zoo=user_folder(zoo),
            name=name,
            onnx=onnx,
            retrain=retrain,
            data=data,
            cache=self._cache(cache),
            overwrite=overwrite,
        )
        with self._opened() as (store, study):
            parts.require_networks(study)
            return export(study, store, config, self.workspace)

    def finalize(
        self,
        *,
        data: str | None = None,
        cache: str | Path | None = None,
        top: int = 8,
        recipe: str | None = None,
        teacher: str | None = None,
        seeds: int = 3,
        samples: int = 8,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        ray_address: str | None = None,
        storage_timeout_s: float = STORAGE_TIMEOUT_S,
        quiet: bool = False,
    ) -> FinalFront:
        """Train the best of the study fully with several seeds, and score them on test images.

        Args:
            data: where its data lie; where they lay when it was created, by default.
            cache: folder under which decoded images are kept; as in a search by default.
            top: how many members of the front to train.
            recipe: a recipe's name or a JSON file; eight times the search's steps by default.
            teacher: learn from it too: a folder that `export` wrote, or a pretrained model of timm with the same
                classes.
            seeds: trainings of each at its best settings.
            samples: settings of the recipe to try for each.
            workers: concurrent trainings; one per GPU, else one per core, by default.
            gpus_per_worker: share of a GPU for each worker; 1 with GPUs, else 0, by default.
            ray_address: running Ray cluster to use; a local one is started by default.
            storage_timeout_s: wait this long for a database or a disk that cannot be used.
            quiet: print nothing.

        Raises:
            InvalidInputError: if there is no front yet, or recipe, teacher or data cannot be used.
            StudyLockedError: if another living process owns the study.
            NasError: if the trainings fail.
        """
        from workers.finalize import FinalizeConfig, finalize

        check_kinds({"data": data, "recipe": recipe, "teacher": teacher, "ray_address": ray_address})
        check_kinds({"top": top, "seeds": seeds, "samples": samples, "workers": workers})
        check_kinds({"gpus_per_worker": gpus_per_worker})
        config = FinalizeConfig(
            data=data,
            cache=self._cache(cache, ray_address),
            top=top,
            recipe=recipe,
            teacher=teacher,
            seeds=seeds,
            samples=samples,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            ray_address=ray_address,
            storage_timeout_s=storage_timeout_s,
        )
        workspace = self.workspace
        with self._working(quiet) as caller:
            backoff = Backoff(storage_timeout_s, caller.say)
            with self._opened(backoff, writes=True) as (store, study):
                parts.require_networks(study)
                log_file = workspace.log_file(study.name, study.uid)
                return finalize(study, store, config, workspace.artifacts, log_file, caller, backoff)

    def profile(
        self,
        latency_target: str | None = None,
        trials: str = "front",
        *,
        files: Sequence[str | Path] = (),
        storage_timeout_s: float = STORAGE_TIMEOUT_S,
        quiet: bool = False,
    ) -> "Profiled":
        """Time its networks on this machine, without training; `pareto(latency_target)` then gives their front.

        Args:
            latency_target: what to time on; the GPU, else one CPU thread, by default.
            trials: front, all (finished ones), or numbers separated by commas.
            files: take in what bundles wrote on other devices, and time nothing here.
            storage_timeout_s: wait this long for a database that cannot be used.
            quiet: print nothing.

        Raises:
            InvalidInputError: if the target cannot be used here, there is no such trial that finished, or a file is
                not what a bundle wrote for this study.
        """
        from workers.profile import profile_study, take_in

        check_kinds({"latency_target": latency_target, "trials": trials})
        check_storage_timeout(storage_timeout_s)
        if files and (latency_target is not None or trials != "front"):
            raise InvalidInputError("files of other devices say targets and trials themselves; leave both out")
        with self._working(quiet) as caller:
            backoff = Backoff(storage_timeout_s, caller.say)
            with self._opened(backoff, writes=True) as (store, study):
                parts.require_networks(study)
                if files:
                    return take_in(study, store, [user_file(file) for file in files], caller.say)
                return profile_study(study, store, latency_target, trials, caller.say)

    def _no_front(self) -> NasError:
        return NasError(
            f"study {self.name!r} has no front yet: no trial has finished; look at `launch.py status {self._words}`"
        )

    def _cache(self, given: str | Path | None, ray_address: str | None = None) -> str:
        return self.workspace.cache(given, ray_address)

    @property
    def _words(self) -> str:
        return self.workspace.study_words(self.name)

    @contextlib.contextmanager
    def _opened(
        self, backoff: Backoff = NO_WAITING, *, writes: bool = False
    ) -> "Iterator[tuple[SqlStore, StudyRecord]]":
        with parts.existing(self.storage, backoff, writes=writes) as store:
            yield store, pick_study(self.name, store.studies())

    @contextlib.contextmanager
    def _working(self, quiet: bool) -> Iterator[Caller]:
        if self.caller is not None:
            yield self.caller
            return
        with called_from_python(silent=quiet) as caller:
            yield caller


def find_study(
    name: str | None,
    storage: str | None,
    artifacts: str | Path | None = None,
    space: SearchSpace | None = None,
    caller: Caller | None = None,
) -> Study:
    """The study of that name; the only one, if no name is given.

    Raises:
        InvalidInputError: if there is no database or no such study, or none is named where there is not exactly one.
    """
    url, folder = parts.located(storage, artifacts)
    with parts.existing(url) as store:
        found = pick_study(name, store.studies())
    return Study(found.name, url, folder, space, caller=caller)


def summaries(storage: str | None) -> list[StudySummary]:
    """How each study of a database stands, by creation.

    Raises:
        InvalidInputError: if there is no database.
    """
    with parts.existing(parts.located(storage)[0]) as store:
        return [
            summarize(study, store.facts(study.name), store.front(study.name), store.lease(study.name))
            for study in store.studies()
        ]


def _has_scores(study: StudyRecord) -> bool:
    is_warm = str(study.config.get("warm_start", "")).startswith(EARLIER_STUDY)
    return is_warm or study.config.get("scores") is not None


def _scores_of(
    study: StudyRecord, space: SearchSpace, store: "SqlStore", storage: Storage
) -> tuple[Sequence[ArchitectureScore], Sequence[str]]:
    """The scores that guided a study, and why there are none any more where their source is gone."""
    if not _has_scores(study):
        return (), ()
    try:
        given = study.config.get("scores")
        known = known_scores(study.name, study.config["warm_start"], given, space, store, storage)
        sample = recorded_sample(given_scores(given).names, study.name, space, storage)
    except InvalidInputError as error:
        return (), (f"scores are not judged: {error}",)
    return (*known, *sample.scores), ()


def _target_settings(text: str) -> dict[str, object]:
    from workers.latency.target import settings_of

    return settings_of(text)
