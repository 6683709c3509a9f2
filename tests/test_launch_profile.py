"""`launch.py profile` and `pareto --latency-target` on a small study that was recorded by hand; the networks are really
timed."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import workers.profile
from db.store import open_store
from nas.pareto.front import FrontKeeper
from nas.records import JSON, Latency, Retiming, RungScore, TrialFacts
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.build import build_model
from search_spaces.registry import make_space
from tests.samples import REFERENCE_POINT, TARGET, study_record

Command = Callable[..., tuple[int, str, str]]
SPACE = make_space("conv_only", "nano", 16, 1, 10)


@pytest.fixture
def url(sqlite_url: str) -> str:
    """Trials 0 to 3; 0, 1 and 2 are finished, and 1 is dominated on the study's own target."""
    rng = np.random.default_rng(3)
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    facts = []
    for number, (top1, ms) in enumerate([(0.5, 1.0), (0.4, 2.0), (0.8, 4.0), (0.0, 5.0)]):
        architecture = SPACE.architecture(SPACE.sample(rng))
        failed = number == 3
        facts.append(
            TrialFacts(
                number,
                architecture.arch_hash,
                architecture.to_spec(),
                architecture.layout(),
                SPACE.costs(architecture),
                0,
                "FAIL" if failed else "COMPLETE",
                "loss is nan" if failed else None,
                Latency(TARGET, {}, ms, ms, ms, ms, 30),
                rungs=() if failed else (RungScore(0, 128, top1, 0.5, 3.0),),
            )
        )
    with contextlib.closing(open_store(sqlite_url)) as store:
        store.create_study(replace(study_record(), objectives=("top1", "latency_ms")))
        for trial in facts:
            store.record("sample", trial, keeper.add(trial))
    return sqlite_url


def test_recorded_networks_are_timed_and_get_their_own_front(url: str, run_command: Command, tmp_path: Path) -> None:
    own = run_command("pareto", "--storage", url, "--json")[1]
    code, output, errors = run_command(
        "profile", "--storage", url, "--latency-target", "cpu:batch=2", "--trials", "all"
    )
    assert (code, "3 timed, 0 failed" in output, "0 of 3 trials are timed on cpu:threads=1,batch=2" in errors) == (
        0,
        True,
        True,
    )
    front = json.loads(run_command("pareto", "--storage", url, "--latency-target", "cpu:batch=2", "--json")[1])
    assert (front["target"]["batch"], front["target"]["runtime"]) == (2, "torch")
    assert {member["trial_number"] for member in front["members"]} <= {0, 1, 2}
    assert 2 in {member["trial_number"] for member in front["members"]}, "the most accurate trial is never dominated"
    latencies = [member["latency_ms"] for member in front["members"]]
    assert latencies == sorted(latencies) and not {1.0, 2.0, 4.0} & set(latencies), (
        "the study's own latencies are of another target"
    )
    assert run_command("pareto", "--storage", url, "--json")[1] == own, "the study's own front stays"
    files = {
        f"--{kind}": tmp_path / f"front.{suffix}"
        for kind, suffix in (("csv", "csv"), ("plot", "png"), ("html", "html"))
    }
    words = [word for option, file in files.items() for word in (option, str(file))]
    assert run_command("pareto", "--storage", url, "--latency-target", "cpu:batch=2", *words)[0] == 0
    assert all(file.stat().st_size for file in files.values())
    assert "front check   the recorded front equals" in run_command("status", "--study", "sample", "--storage", url)[1]


def test_second_timings_are_shown_beside_the_front(url: str, run_command: Command) -> None:
    before = run_command("pareto", "--storage", url)[1]
    assert "timed again" not in before + run_command("status", "--study", "sample", "--storage", url)[1]
    seconds = {number: Latency(TARGET, {}, ms, ms - 0.1, ms + 0.1, ms, 30) for number, ms in ((0, 3.0), (2, 2.0))}
    with contextlib.closing(open_store(url)) as store:
        store.record_retiming("sample", Retiming(TARGET, seconds))
    table = run_command("pareto", "--storage", url)[1]
    lost = (
        "trial 0 lost its place: top1 0.5000, 1.00 ms (1.00 - 1.00) at first, 3.00 ms (2.90 - 3.10) now; trial 2 has "
        "top1 0.8000"
    )
    assert "3.00 ms (2.90 - 3.10)" in table and lost in table and "2 members of the front timed again" in table
    members = json.loads(run_command("pareto", "--storage", url, "--json")[1])["members"]
    assert [(m["trial_number"], m["latency_again_ms"], m["dominated_again_by"]) for m in members] == [
        (0, 3.0, 2),
        (2, 2.0, None),
    ]
    status = run_command("status", "--study", "sample", "--storage", url)[1]
    assert f"again         {lost}" in status and "front check   the recorded front equals the facts" in status


def test_what_is_timed_is_not_timed_again(url: str, run_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run dies after one trial."""
    measure = workers.profile.measure
    timed = []

    def once(model: object, target: object, *rest: object) -> Latency:
        if timed:
            raise KeyboardInterrupt
        timed.append(target)
        return Latency(target.fingerprint((1, 16, 16)), {}, 1.5, 1.4, 1.6, 2.0, 30)

    monkeypatch.setattr(workers.profile, "measure", once)
    words = ("profile", "--storage", url, "--latency-target", "cpu", "--trials", "0,2")
    assert run_command(*words)[0] == 130
    monkeypatch.setattr(workers.profile, "measure", measure)
    code, output, errors = run_command(*words)
    assert (code, "1 timed" in output, "1 of 2 trials are timed" in errors) == (0, True, True)
    assert "0 timed" in run_command(*words)[1]
    front = json.loads(run_command("pareto", "--storage", url, "--latency-target", "cpu", "--json")[1])
    assert front["members"][0]["latency_ms"] in (1.5, front["members"][-1]["latency_ms"])


def test_a_network_that_cannot_be_timed_does_not_stop_the_others(
    url: str, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_unless_large(spec: JSON, drop_path_rate: float) -> object:
        if not built:
            built.append(spec)
            raise MemoryError
        return build_model(spec, drop_path_rate)

    built: list[JSON] = []
    monkeypatch.setattr("search_spaces.build.build_model", build_unless_large)
    code, output, errors = run_command("profile", "--storage", url, "--latency-target", "cpu", "--trials", "front")
    assert (code, "1 timed, 1 failed" in output, "trial 0 cannot be timed: out of memory" in errors) == (1, True, True)


def test_a_network_that_the_target_cannot_run_is_refused_in_words(
    url: str, run_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search_spaces.zoo.onnx.PACKAGES", ())
    monkeypatch.setattr("workers.latency.target.importlib.metadata.version", lambda name: "1.0")
    for name in ("mbconv", "dwconv"):
        monkeypatch.setitem(KINDS, name, replace(KINDS[name], onnx="no operator for it"))
    code, output, errors = run_command("profile", "--storage", url, "--latency-target", "onnxruntime", "--trials", "0")
    assert (code, "0 timed, 1 failed" in output) == (1, True)
    assert "trial 0 cannot be timed: latency target 'onnxruntime:threads=1,batch=1': onnxruntime cannot run " in errors
    assert "(no operator for it); give another --latency-target\n" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["profile", "--trials", "best"], "--trials is 'best'; expected front, all, or numbers such as 3,7,12"),
        (["profile", "--trials", "9"], "--trials names 9, and the study has no such trial; its trials are 0 to 3"),
        (["profile", "--trials", "3"], "--trials names 3, and that trial is FAIL (loss is nan)"),
        (["profile", "--latency-target", "abacus"], "the kind 'abacus' is unknown"),
        (["pareto", "--latency-target", "cuda:batch=7"], "has no latencies on kind cuda, batch 7"),
        (["pareto", "--latency-target", "cuda:batch=7"], "on Reference CPU with"),
    ],
)
def test_bad_input_is_explained(words: list[str], message: str, url: str, run_command: Command) -> None:
    code, _, errors = run_command(*words, "--storage", url)
    assert code in (1, 2)
    assert message in errors and errors.count("\n") == 1
