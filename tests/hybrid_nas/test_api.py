"""The Python API with an evaluator of the caller's: no workers are started."""

import contextlib
import inspect
import json
import logging
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click
import pytest

from db.store import open_store
from hybrid_nas import api, parts
from hybrid_nas.study import Study
from nas.errors import EvaluatorError, InvalidInputError, NasError, SearchAbortedError, StudyMismatchError
from nas.records import JSON
from nas.search.events import Ended, FrontGrew, SearchEvent, TrialFinished
from tests.doubles import TinySpace, tiny_top1
from tests.samples import TRIALS, latest_front, study_record

ROOT = Path(__file__).parents[2]
OWN: dict[str, Any] = {"space": TinySpace(), "evaluate": tiny_top1, "objectives": "top1,macs", "quiet": True}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORAGE", raising=False)


@pytest.fixture
def study() -> Study:
    return api.search(**OWN, budget=12)


def test_every_option_of_a_search_is_a_keyword_with_the_same_default() -> None:
    import launch

    keywords = inspect.signature(api.search).parameters
    options = {parameter.name: parameter for parameter in launch.cli.params if isinstance(parameter, click.Option)}
    assert set(keywords) - set(options) == {"evaluate", "on_event"}
    assert set(options) <= set(keywords)
    required = {name for name, keyword in keywords.items() if keyword.default is inspect.Parameter.empty}
    assert required == {"space", "budget"}
    defaults = launch.cli.make_context("launch.py", [], resilient_parsing=True).params
    for name in set(options) - required - {"storage"}:  # which is looked up where it is needed
        assert keywords[name].default == defaults[name], name


@pytest.mark.parametrize("command", ["export", "finalize", "audit", "profile"])
def test_every_option_of_a_command_is_a_keyword_of_its_method(command: str) -> None:
    import launch

    keywords = inspect.signature(getattr(Study, command)).parameters
    defaults = launch.cli.commands[command].make_context(command, [], resilient_parsing=True).params
    for name in set(defaults) - {"study", "storage", "artifacts", "json_file"}:
        default = defaults[name].name if isinstance(defaults[name], Path) else str(defaults[name])
        assert str(keywords[name].default) == default, name


def test_a_search_gives_a_handle_on_what_it_recorded(study: Study) -> None:
    assert study.outcome is not None and study.outcome.complete
    assert (study.name, study.record.space, study.record.data) == ("tiny-nano-own", "tiny", "own")
    assert len(study.trials) == 12
    assert study.front is not None and study.final_front is None
    assert study.status().problems == ()
    assert "front check   the recorded front equals the facts" in str(study.status())
    assert [summary.study.name for summary in api.studies()] == ["tiny-nano-own"]
    found = api.open_study()
    assert (found.name, found.trials, found.front) == (study.name, study.trials, study.front)


def test_a_second_call_continues(study: Study) -> None:
    before = study.trials
    again = api.search(**OWN, budget=15)
    assert again.trials[:12] == before and len(again.trials) == 15
    done = api.search(**OWN, budget=15)
    assert done.outcome is not None and done.outcome.reason.startswith("budget reached already")
    with pytest.raises(StudyMismatchError, match="exists with seed = 0, and now it would be 1"):
        api.search(**OWN, budget=15, seed=1)


def test_the_same_seed_gives_the_same_study() -> None:
    first, second = (api.search(**OWN, budget=20, study=name, seed=5) for name in ("a", "b"))
    assert [trial.spec for trial in first.trials] == [trial.spec for trial in second.trials]


def test_quiet_prints_nothing_and_else_the_end_is_printed(capsys: pytest.CaptureFixture[str], study: Study) -> None:
    assert capsys.readouterr().out == ""
    api.search(**{**OWN, "quiet": False}, budget=13)
    printed = capsys.readouterr().out
    assert "budget reached: 13 of 13 architectures evaluated" in printed
    assert "next: launch.py pareto --study tiny-nano-own | launch.py dashboard" in printed


def test_a_callback_hears_trials_fronts_and_the_end() -> None:
    heard: list[SearchEvent] = []
    study = api.search(**OWN, budget=5, on_event=heard.append)
    assert [event.facts for event in heard if isinstance(event, TrialFinished)] == list(study.trials)
    assert [event.front for event in heard if isinstance(event, FrontGrew)][-1] == study.front
    assert heard[-1] == Ended("budget reached: 5 of 5 architectures evaluated", complete=True)


def test_latencies_come_from_the_function_where_they_are_the_cost() -> None:
    def evaluate(spec: JSON) -> tuple[float, float]:
        return tiny_top1(spec), float(spec["depth"] * spec["width"])

    study = api.search(space=TinySpace(), evaluate=evaluate, budget=10, max_latency_ms=6.0, quiet=True)
    assert study.record.objectives == ("top1", "latency_ms")
    finished = [trial for trial in study.trials if trial.state == "COMPLETE"]
    assert len(finished) == 10
    for trial in finished:
        assert trial.latency is not None
        assert trial.latency.median_ms == trial.spec["depth"] * trial.spec["width"] <= 6
    assert study.pareto().value == study.front


def test_a_function_without_latency_is_told_what_is_expected() -> None:
    with pytest.raises(EvaluatorError, match=r"the function gave 0\.5; expected \(top1, milliseconds\)"):
        api.search(space=TinySpace(), evaluate=lambda spec: 0.5, budget=3, quiet=True)


def test_failures_are_recorded_with_their_reason_and_too_many_end_the_search() -> None:
    def evaluate(spec: JSON) -> float:
        if spec["depth"] == 2:
            raise RuntimeError("does not converge")
        return tiny_top1(spec)

    study = api.search(**{**OWN, "evaluate": evaluate}, budget=12)
    reasons = {trial.reason for trial in study.trials if trial.state == "FAIL"}
    assert reasons <= {"RuntimeError: does not converge"}
    with pytest.raises(SearchAbortedError, match="5 of the last 5 evaluations failed; the last one: ZeroDivisionError"):
        api.search(**{**OWN, "evaluate": lambda spec: 1 / 0}, budget=12, study="other")


def test_ctrl_c_saves_the_state_and_is_raised() -> None:
    def evaluate(spec: JSON) -> float:
        calls.append(spec)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return tiny_top1(spec)

    calls: list[JSON] = []
    handler = signal.getsignal(signal.SIGINT)
    heard: list[SearchEvent] = []
    with pytest.raises(KeyboardInterrupt):
        api.search(**{**OWN, "evaluate": evaluate}, budget=10, on_event=heard.append)
    assert signal.getsignal(signal.SIGINT) == handler
    assert heard[-1] == Ended("interrupted; the state is saved", complete=False)
    study = api.open_study()
    assert len(study.trials) == 4
    assert len(api.search(**OWN, budget=10).trials) == 10


def test_another_thread_searches_without_signal_handlers() -> None:
    handler = signal.getsignal(signal.SIGINT)
    seen: list[object] = []
    found: list[Study] = []

    def listen(event: SearchEvent) -> None:
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: found.append(api.search(**OWN, budget=3, on_event=listen)))
    thread.start()
    thread.join()
    assert len(found[0].trials) == 3
    assert set(seen) == {handler}


def test_the_log_is_kept_for_the_time_of_the_search_and_other_loggers_stay(study: Study) -> None:
    (file,) = Path("runs/logs").glob("tiny-nano-own-*.log")
    log = file.read_text()
    assert len(re.findall(r"INFO coordinator nas\.search\.loop: trial \d+ COMPLETE", log)) == 12
    logger = logging.getLogger("nas")
    assert logger.propagate and logger.level == logging.NOTSET
    assert not [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "--budget is 0"),
        ({"budget": "many"}, "--budget is 'many'; expected a whole number"),
        ({"budget": True}, "--budget is True; expected a whole number"),
        ({"budget": 5, "sampler": "best"}, "unknown sampler 'best'"),
        ({"budget": 5, "objectives": ("top1", "top5")}, "--objectives is 'top1,top5'"),
        ({"budget": 5, "workers": 4}, "workers is 4, and evaluate is given, which calls no workers"),
        ({"budget": 5, "rungs": 3}, "rungs is 3, and evaluate is given"),
        ({"budget": 5, "study": "a/b"}, "--study is 'a/b'"),
        ({"budget": 5, "storage": "mysql://me:hunter2@host/db"}, "mysql"),
        ({"budget": 5, "evaluate": None}, "workers build the networks of a space by its name"),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing_behind(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)) as caught:
        api.search(**{**OWN, **arguments})
    assert "hunter2" not in str(caught.value)
    assert list(Path().iterdir()) == []


def test_what_needs_a_database_or_a_study_says_so(study: Study) -> None:
    with pytest.raises(InvalidInputError, match="there is no database"):
        api.open_study(storage="sqlite:///nowhere.db")
    with pytest.raises(InvalidInputError, match="there is no study 'nope'; the database has tiny-nano-own"):
        api.open_study("nope")
    with pytest.raises(NasError, match=r"has no final front yet; `launch.py finalize --study tiny-nano-own` makes one"):
        study.final_pareto()
    for refused in (study.export, study.finalize, study.audit, study.profile):
        with pytest.raises(InvalidInputError, match="was evaluated by a function of its own, and not trained on data"):
            refused()


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("explain", {"trial": "0"}),
        ("audit", {"data": Path("x")}),
        ("audit", {"count": "5"}),
        ("export", {"pick": 0}),
        ("export", {"name": 3}),
        ("finalize", {"recipe": Path("~/r.json")}),
        ("finalize", {"teacher": Path("zoo/first")}),
        ("finalize", {"top": "3"}),
        ("profile", {"trials": [0]}),
    ],
)
def test_an_option_of_another_type_is_refused(study: Study, method: str, given: dict[str, Any]) -> None:
    (name, value) = next(iter(given.items()))
    with pytest.raises(InvalidInputError, match=rf"^--{name} is {re.escape(repr(value))}; expected a (text|whole num)"):
        getattr(study, method)(**given)


def test_results_come_in_every_form(study: Study, tmp_path: Path) -> None:
    shown = study.pareto()
    assert str(shown).splitlines()[0].startswith("tiny-nano-own: ")
    assert len(json.loads(shown.json())["members"]) == len(shown.value.members)
    assert len(shown.csv().splitlines()) == 1 + len(shown.value.members)
    assert shown.plot("front.svg").read_text().startswith("<?xml")
    assert "tiny-nano-own" in shown.html(tmp_path / "front.html").read_text()
    assert shown._repr_png_().startswith(b"\x89PNG")
    history = study.history()
    assert history.value.evaluated == 12 and history._repr_png_().startswith(b"\x89PNG")
    explained = study.explain(trial=study.trials[0].trial_number)
    assert "rests on 12 finished trials" in str(explained)
    assert explained._repr_html_().startswith("<iframe srcdoc=")
    with pytest.raises(InvalidInputError, match="a space of the program that asked; give the space itself"):
        api.open_study().explain()
    assert api.open_study(space=TinySpace()).explain().json() == study.explain().json()


def test_trials_are_a_table_of_pandas(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    frame = study.trials_frame()
    assert frame.index.name == "trial_number" and len(frame) == 12
    assert list(frame["top1"]) == [trial.top1 for trial in study.trials]
    widths = [trial.spec["width"] for trial in study.trials]
    assert list(frame["gene_width"]) == widths
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NasError, match="needs pandas, which is not installed: pip install pandas"):
        study.trials_frame()


def test_a_handle_shows_no_password() -> None:
    study = Study("s", "postgresql+psycopg://me:hunter2@host/db")
    assert "hunter2" not in repr(study)


def test_the_recorded_study_of_workers_is_opened_and_shown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        store.create_study(study_record())
        for trial in TRIALS:
            store.record("sample", trial, latest_front() if trial is TRIALS[-1] else None)
    study = api.open_study("sample", storage=url)
    assert len(study.trials) == len(TRIALS) and study.front is not None
    assert len(study.front.members) == 3
    assert study.workspace.artifacts == tmp_path / "artifacts"
    assert not parts.is_own(study.record)


def test_the_api_is_quick_to_import() -> None:
    """In a process of its own: no library that takes longer than ours is loaded."""
    script = "import sys; import hybrid_nas.api; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for library in ("torch", "ray", "optuna", "sqlalchemy", "scipy", "matplotlib", "pandas", "click"):
        assert f"'{library}'" not in loaded, library


def test_texts_that_no_database_takes_are_recorded_as_their_escapes() -> None:
    def fails(spec: JSON) -> float:
        if spec["depth"] == 1:
            raise ValueError("half \udcff, null \0, \x1b[2J")
        return tiny_top1(spec)

    study = api.search(**{**OWN, "evaluate": fails}, budget=12)
    reasons = {trial.reason for trial in study.trials if trial.state == "FAIL"}
    assert reasons == {"ValueError: half \\udcff, null \\x00, \\x1b[2J"}


@pytest.mark.parametrize("name", ["half \udcff", "a\nb", "\u202ereversed"])
def test_a_space_of_unprintable_words_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected printable characters alone"):
        api.search(**{**OWN, "space": TinySpace(name=name)}, budget=1)


def test_a_space_may_be_called_what_no_file_can_be() -> None:
    study = api.search(**{**OWN, "space": TinySpace(name="a/b " + "x" * 300)}, budget=1)
    assert study.name.startswith("a-b xxx") and len(study.name) == 200
