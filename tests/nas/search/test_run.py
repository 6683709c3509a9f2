"""A whole run under its lease, without workers: what is said, timed again and reported."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from rich.console import Console

from db.engine import engine_kwargs
from db.store import open_store
from nas.backoff import NO_WAITING
from nas.caller import Caller
from nas.config import SearchConfig
from nas.data_facts import DataFacts
from nas.errors import EvaluatorError, InvalidInputError, StudyLockedError
from nas.protocols import Calibration, Event
from nas.records import JSON, ProcessId, StudyRecord
from nas.search.establish import Identity
from nas.search.events import Ended, Note, SearchEvent, Step
from nas.search.loop import INTERRUPTED, Outcome
from nas.search.progress import Progress
from nas.search.run import SearchParts, Surroundings, run_search
from nas.search.study import open_optuna_storage
from nas.signals import StopSignals
from tests.doubles import TARGET, ScriptedEvaluator, TinySpace

IDENTITY = Identity("toy", "f", 0.1, {"name": "toy"}, TARGET, "test", {})


@dataclass
class Hosted(ScriptedEvaluator):
    """Has no processes of its own."""

    session_processes: tuple[ProcessId, ...] = ()
    session_folder: str = ""


@dataclass
class Desk:
    """Asks for runs of one study, and keeps what it hears."""

    folder: Path
    evaluator: Hosted = field(default_factory=Hosted)
    said: list[str] = field(default_factory=list)
    heard: list[SearchEvent] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    signals: StopSignals = field(default_factory=StopSignals)
    screen: io.StringIO = field(default_factory=io.StringIO)
    started: list[int] = field(default_factory=list)
    """Workers of each run that started some."""
    steps: list[str] = field(default_factory=list)
    """What the workers say while they start."""

    def make_evaluator(
        self, workers: int, log_file: Path, recorded: StudyRecord | None, step: Callable[[str], None]
    ) -> Hosted:
        self.started.append(workers)
        for text in self.steps:
            step(text)
        return self.evaluator

    def hear_step(self, text: str) -> None:
        self.said.append(text)
        self.heard.append(Step(text))

    def run(self, budget: int, identity: Identity = IDENTITY, **options: object) -> Outcome:
        url = f"sqlite:///{self.folder}/nas.db"
        artifacts = options.pop("artifacts", str(self.folder / "artifacts"))
        config = SearchConfig(space="tiny", budget=budget, study="s", storage=url, artifacts=str(artifacts), **options)
        parts = SearchParts(
            config=config,
            space=TinySpace(),
            identity=identity,
            describe=lambda: identity,
            targets=lambda: [TARGET],
            trial_timeout_s=config.trial_timeout_s,
            sampling=contextlib.nullcontext,
            begin_text=lambda workers: "starting",
            make_evaluator=self.make_evaluator,
            end_session=lambda processes, folder: [],
        )
        around = Surroundings(
            caller=Caller(self.signals, self.said.append, self.logs.append),
            log_file=lambda uid: self.folder / "s.log",
            make_progress=lambda evaluated: Progress("s", budget, evaluated, False, Console(file=self.screen)),
            closing_lines=lambda outcome: [f"closing: {outcome.reason}"],
            on_event=self.heard.append,
            step=self.hear_step,
            backoff=NO_WAITING,
        )
        with contextlib.closing(open_store(url)) as store:
            storage = open_optuna_storage(url, engine_kwargs(url))
            try:
                return run_search(parts, store, storage, around)
            finally:
                storage.engine.dispose()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_run_plans_searches_times_again_and_closes(desk: Desk) -> None:
    outcome = desk.run(6)
    assert outcome.complete and desk.evaluator.closed
    assert desk.said == ["starting"] and desk.logs == [desk.folder / "s.log"]
    lines = desk.screen.getvalue().splitlines()
    assert lines[0] == "space tiny at scale nano: 3 genes, 64 genotypes"
    assert lines[-1] == f"closing: {outcome.reason}"
    notes = [event.text for event in desk.heard if isinstance(event, Note)]
    assert len(notes) == 1 and notes[0].startswith("timing the ") and notes[0] in lines
    assert desk.heard[-1] == Ended(outcome.reason, complete=True)


def test_the_plan_says_in_days_what_takes_days(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Hosted(evaluation_s=86_400))
    desk.run(6)
    assert "one evaluation takes about 86400.0 s, so the rest takes about 6 d 00 h\n" in desk.screen.getvalue()


def test_a_finished_study_needs_no_evaluator(desk: Desk) -> None:
    desk.run(6)
    again = Desk(desk.folder)
    outcome = again.run(6)
    assert outcome.reason.startswith("budget reached already")
    assert (again.evaluator.submitted, again.started, again.said) == ([], [], [])
    assert again.screen.getvalue() == f"closing: {outcome.reason}\n"
    assert again.heard == [Ended(outcome.reason, complete=True)]


def test_no_more_workers_are_started_than_evaluations_are_left(desk: Desk) -> None:
    desk.run(6, workers=4)
    assert (desk.started, desk.said) == ([4], ["starting"])
    again = Desk(desk.folder)
    again.run(8, workers=4)
    assert again.started == [2]
    assert again.said == ["note: only 2 of 4 workers would have work, so no more are started", "starting"]
    assert again.heard[0] == Note(again.said[0])


def test_a_time_limit_that_no_evaluation_of_the_study_met_is_refused(desk: Desk) -> None:
    desk.run(6)
    again = Desk(desk.folder)
    with pytest.raises(
        InvalidInputError, match=r"--trial-timeout-s is 1e-09, and the shortest evaluation of study 's'"
    ):
        again.run(8, trial_timeout_s=1e-9)
    assert again.started == []


def test_another_version_and_missing_weights_are_noted(desk: Desk) -> None:
    desk.run(6)
    again = Desk(desk.folder)
    again.run(8, replace(IDENTITY, code_version="later"), artifacts=str(desk.folder / "elsewhere"))
    version, weights, begin = again.said
    assert version == "note: the study was created by version test, this is later"
    assert weights.startswith("note: the weights of ") and f"--artifacts {desk.folder}/artifacts" in weights
    assert begin == "starting"
    assert [event.text for event in again.heard if isinstance(event, Note)][:2] == [version, weights]


def test_a_stop_while_the_front_is_timed_again_leaves_that_for_the_next_run(desk: Desk) -> None:
    signals = StopSignals()

    def stop(job: object) -> None:
        if getattr(job, "timing", None) is not None:
            signals._requested = True

    desk.evaluator.on_submit = stop
    desk.signals = signals
    assert desk.run(6) == INTERRUPTED
    again = Desk(desk.folder)
    assert again.run(6).complete and again.said == ["starting"]
    assert {job.timing for job in again.evaluator.submitted} == {0}


def test_an_evaluator_that_cannot_go_on_ends_the_run_and_gives_the_study_up(desk: Desk) -> None:
    class Broken(Hosted):
        def events(self, timeout_s: float) -> Sequence[Event]:
            raise EvaluatorError("no worker is left")

    desk.evaluator = Broken()
    with pytest.raises(EvaluatorError, match="no worker is left"):
        desk.run(6)
    assert desk.evaluator.closed
    assert not [event for event in desk.heard if isinstance(event, Ended)]
    assert Desk(desk.folder).run(6).complete, "neither lease nor trial is left behind"


def test_an_owner_that_lives_is_left_alone(desk: Desk) -> None:
    other = Desk(desk.folder)

    def intrude(job: object) -> None:
        with pytest.raises(StudyLockedError):
            other.run(6)

    desk.evaluator.on_submit = intrude
    assert desk.run(2).complete
    assert other.evaluator.submitted == []


def test_steps_are_shown_and_heard_before_everything_else(desk: Desk) -> None:
    desk.steps = ["starting Ray", "starting 2 workers: 0 of 2 ready"]
    desk.run(6)
    assert desk.said == ["starting", *desk.steps]
    assert desk.heard[:2] == [Step(text) for text in desk.steps]


def test_a_worker_tells_what_a_new_study_does_not_know_of_its_data(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = DataFacts(
        mean=(0.5,),
        std=(0.1,),
        interpolation="bilinear",
        crop_pct=1.0,
        crop_mode="center",
        label_names=(),
        num_train=4096,
        num_validation=1024,
        num_test=0,
    )
    measured = desk.evaluator.calibrate

    def calibrate(slowest: JSON, typical: JSON) -> Calibration:
        return replace(measured(slowest, typical), data_fingerprint="found", data_facts=facts)

    monkeypatch.setattr(desk.evaluator, "calibrate", calibrate)
    desk.run(6, identity=replace(IDENTITY, data_fingerprint=""))
    with contextlib.closing(open_store(f"sqlite:///{desk.folder}/nas.db")) as store:
        record = store.study("s")
    assert record is not None
    assert (record.data_fingerprint, record.data_facts) == ("found", facts)
    assert "images: 4,096 for training, 1,024 for validation, 0 for test" in desk.screen.getvalue()
