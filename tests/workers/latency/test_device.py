"""A bundle where nothing of ours is installed: only the packages of torch and timm, or of onnxruntime, can be
imported."""

import contextlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.store import open_store
from nas.pareto.front import FrontKeeper
from nas.records import JSON, Latency, RungScore, TrialFacts
from nas.text import json_hash
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.zoo.export import export_model
from tests.bare_site import bare_site, run_bare
from tests.samples import REFERENCE_POINT, TARGET, study_record
from tests.zoo_entries import architecture, card_of, trained, weights_of
from workers.latency.bundle import write_bundle

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two entries, one of them with an ONNX file."""
    folder = tmp_path_factory.mktemp("device") / "zoo"
    for seed, name in enumerate(("first", "second")):
        network = architecture(seed)
        weights = weights_of(trained(network))
        export_model(
            zoo=folder, name=name, spec=network.to_spec(), weights=weights, card=card_of(network), onnx=name == "first"
        )
    return folder


@pytest.fixture(scope="module")
def timed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a device with torch and timm wrote."""
    folder = tmp_path_factory.mktemp("timed")
    write_bundle(zoo, [], folder / "bundle.zip")
    site = bare_site(folder / "site", "torch", "timm")
    words = ("--latency-target", "cpu:threads=1,batch=2", "--device-name", "board 5", "--json", "../device.json")
    done = run_bare(site, folder / "bundle.zip", *words)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not {"psutil", "optuna", "ray", "sqlalchemy", "onnxruntime"} & {path.name for path in site.iterdir()}
    return folder / "device.json"


@pytest.fixture
def url(sqlite_url: str) -> str:
    """A study whose finished trials 0 and 1 are the networks of the two entries."""
    space = HybridLayout("nano", 32, 1, 10)
    keeper = FrontKeeper("latency_ms", REFERENCE_POINT)
    with contextlib.closing(open_store(sqlite_url)) as store:
        store.create_study(replace(study_record(), objectives=("top1", "latency_ms")))
        for number in range(2):
            network = architecture(number)
            trial = TrialFacts(
                number,
                network.arch_hash,
                network.to_spec(),
                network.layout(),
                space.costs(network),
                0,
                "COMPLETE",
                latency=Latency(TARGET, {}, 1.0 + number, 1.0, 3.0, 3.0, 30),
                rungs=(RungScore(0, 128, 0.5 + number / 10, 0.5, 3.0),),
            )
            store.record("sample", trial, keeper.add(trial))
    return sqlite_url


def test_a_device_with_torch_and_timm_alone_comes_back_as_a_front(timed: Path, url: str, run_command: Command) -> None:
    code, output, _ = run_command("profile", "--storage", url, "--from", str(timed))
    assert code == 0 and "2 timed, 0 failed" in output
    assert "--latency-target 'cpu:threads=1,batch=2,dtype=fp32,memory_format=contiguous@board 5'" in output
    code, output, errors = run_command("pareto", "--storage", url, "--latency-target", "cpu:batch=2@board 5", "--json")
    front = json.loads(output)
    assert (code, errors, front["target"]["device_name"], front["target"]["runtime"]) == (0, "", "board 5", "torch")
    given = {each["entry"]: each["latency"]["median_ms"] for each in json.loads(timed.read_text())["timings"]}
    assert {member["latency_ms"] for member in front["members"]} <= set(given.values())
    again = run_command("profile", "--storage", url, "--from", str(timed))[1]
    assert "0 timed, 0 failed" in again, "what is recorded is not recorded twice"
    errors = run_command("pareto", "--storage", url, "--latency-target", "cpu:batch=2@board 6")[2]
    assert "device_name board 6" in errors and "on board 5 with torch" in errors


def test_a_device_with_onnxruntime_alone_times_the_onnx_file(zoo: Path, tmp_path: Path) -> None:
    write_bundle(zoo, [], tmp_path / "bundle.zip")
    site = bare_site(tmp_path / "site", "onnxruntime")
    done = run_bare(site, tmp_path / "bundle.zip")
    assert not (site / "torch").exists()
    assert done.returncode == 1 and "second cannot be timed: it has no model.onnx; export it with --onnx" in done.stderr
    (timing,) = json.loads(done.stdout)["timings"]
    assert (timing["entry"], timing["latency"]["target"]["runtime"]) == ("first", "onnxruntime")
    refused = run_bare(site, tmp_path / "bundle.zip", "--latency-target", "cpu")
    assert refused.returncode == 2 and refused.stderr.startswith("error: torch is not installed here; install it")


def test_a_damaged_bundle_is_noticed(zoo: Path, tmp_path: Path) -> None:
    write_bundle(zoo, ["first"], tmp_path / "whole.zip")
    with zipfile.ZipFile(tmp_path / "whole.zip") as whole, zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        for name in whole.namelist():
            more = b" " if name.endswith("config.json") else b""
            other.writestr(name, whole.read(name) + more)
    done = run_bare(bare_site(tmp_path / "site", "onnxruntime"), tmp_path / "other.zip")
    assert done.returncode == 1 and "first cannot be timed: config.json is not the file that was bundled" in done.stderr


def _signed(content: JSON) -> JSON:
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return {**rest, "sha256": json_hash(rest)}


def _faster(content: Any) -> JSON:
    content["timings"][0]["latency"]["median_ms"] /= 2
    return dict(content)


def _other_entry(content: Any) -> JSON:
    content["timings"][0]["arch_hash"] = "0" * 64
    return _signed(content)


def _incomplete(content: Any) -> JSON:
    del content["timings"][0]["latency"]["target"]["device_name"]
    return _signed(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_faster, "it was changed after the device wrote it: its SHA-256 is another"),
        (_other_entry, "entry 'first' is of architecture 000000000000, and no finished trial of study 'sample' is"),
        (lambda content: _signed({**content, "protocol": 7}), "it was timed by protocol 7, and this version compares"),
        (lambda content: _signed({**content, "kind": "x"}), "its kind is not 'hybrid-nas device timings'"),
        (lambda content: _signed({**content, "timings": []}), "no network was timed; time at least one"),
        (_incomplete, "a timing in it is not complete (it lacks a part of the latency or of its fingerprint)"),
        (lambda content: [1], "its kind is not"),
    ],
)
def test_a_file_that_cannot_be_taken_in(
    change: Callable[[Any], object], message: str, timed: Path, url: str, run_command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "device.json"
    file.write_text(json.dumps(change(json.loads(timed.read_text()))))
    code, _, errors = run_command("profile", "--storage", url, "--from", str(file))
    assert code == 2 and message in errors and errors.count("\n") == 1
    with contextlib.closing(open_store(url)) as store:
        assert all(latency.target == TARGET for each in store.timings("sample").values() for latency in each)


def test_no_json_and_no_entry_are_explained(zoo: Path, url: str, run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    errors = run_command("profile", "--storage", url, "--from", str(tmp_path / "x.json"))[2]
    assert "x.json: it is no JSON (" in errors
    errors = run_command("profile", "--storage", url, "--from", str(tmp_path / "x.json"), "--trials", "all")[2]
    assert "files of other devices say targets and trials themselves; leave both out" in errors
    code, _, errors = run_command("bundle", "third", "--zoo", str(zoo), "--to", str(tmp_path / "b.zip"))
    assert code == 2 and "has no entry 'third'; expected one of: first, second" in errors
