"""The syntax of latency targets, and what makes two timings comparable."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.errors import InvalidInputError
from workers.latency import reach
from workers.latency.target import LatencyTarget, default_target


def _pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int, name: str = "Test GPU") -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)


def test_cpu_options_and_defaults() -> None:
    target = LatencyTarget.read("cpu:threads=4,batch=8,dtype=bf16,memory_format=channels_last,compile")
    assert (target.threads, target.batch, target.dtype, target.memory_format) == (4, 8, "bf16", "channels_last")
    assert target.compile == "default"
    assert LatencyTarget.parse("cpu") == LatencyTarget.parse(
        "cpu:threads=1,batch=1,dtype=fp32,memory_format=contiguous"
    )
    assert LatencyTarget.parse("cpu").device == torch.device("cpu", 0)


def test_cuda_options_and_defaults() -> None:
    target = LatencyTarget.read("cuda:1,batch=32,dtype=fp16,compile=max-autotune")
    assert (target.device, target.batch, target.dtype, target.compile) == (
        torch.device("cuda", 1),
        32,
        "fp16",
        "max-autotune",
    )
    default = LatencyTarget.read("cuda")
    assert (default.index, default.batch, default.dtype, default.memory_format) == (0, 64, "bf16", "channels_last")
    assert default.threads is None


@pytest.mark.parametrize(
    "text", ["cpu", "cpu:threads=2", "cpu:batch=4,dtype=bf16,compile", "cuda", "cuda:1,compile=reduce-overhead"]
)
def test_text_round_trip(text: str) -> None:
    target = LatencyTarget.read(text)
    assert LatencyTarget.read(str(target)) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kind '' is unknown; expected one of cpu, cuda, onnxruntime"),
        ("tpu:batch=1", "kind 'tpu' is unknown; expected one of cpu, cuda, onnxruntime"),
        ("cpu:thread=1", "'thread=1' is no option of cpu; expected options among threads, batch"),
        ("cpu:0", "'0' is no option of cpu"),
        ("cpu:fast", "'fast' is no option of cpu"),
        ("cpu:threads=0", "threads is '0'; expected threads as a whole number from 1"),
        ("cpu:threads", "threads has no value; expected threads"),
        ("cpu:batch=many", "batch is 'many'"),
        ("cpu:batch=-1", "batch is '-1'"),
        ("cpu:batch=65537", "batch is '65537'; expected batch as a whole number from 1 to 65536"),
        ("cuda:batch=1000000000", "batch is '1000000000'; expected batch"),
        ("cpu:threads=" + "9" * 5000, "threads is '99999999999999999999'; expected threads as a whole number from 1"),
        ("cpu:batch=1,batch=2", "batch is given twice"),
        ("cpu:dtype=int8", "dtype=int8 is unknown; expected dtype as one of fp32, bf16, fp16"),
        ("onnxruntime:dtype=fp16", "'dtype=fp16' is no option of onnxruntime; expected options among threads, batch"),
        ("cpu:compile=fast", "compile=fast is unknown; expected compile as one of default"),
    ],
)
def test_errors_say_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        LatencyTarget.parse(text)
    assert message in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("gpus", "text", "message"), [(0, "cuda", "torch sees none"), (2, "cuda:2", "needs GPU 2, and torch sees 2")]
)
def test_a_gpu_that_is_not_there(gpus: int, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_gpus(monkeypatch, gpus)
    with pytest.raises(InvalidInputError, match=message):
        LatencyTarget.parse(text)


@pytest.mark.parametrize("kind", ["cpu", "onnxruntime"])
def test_more_threads_than_cores_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "num_cores", lambda: 3)
    monkeypatch.setattr("search_spaces.zoo.onnx.require_onnx", lambda: None)
    assert LatencyTarget.parse(f"{kind}:threads=3").threads == 3
    for threads in (4, 100_000):
        with pytest.raises(InvalidInputError, match=f"threads is {threads}, and this process may use 3 of the cores"):
            LatencyTarget.parse(f"{kind}:threads={threads}")


def test_a_batch_larger_than_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    target = LatencyTarget.parse("cpu:batch=60000")
    target.check_memory((3, 64, 64))
    monkeypatch.setattr("workers.latency.target.memory_bytes", lambda: 2**30)
    with pytest.raises(
        InvalidInputError,
        match=r"batch is 60000, and its images need 5 GiB of the 1 GiB .*; expected fewer than 10,922 images",
    ):
        target.check_memory((3, 64, 64))
    replace(target, batch=10_000).check_memory((3, 64, 64))


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts a script in the place of the C++ compiler."""

    def put(script: str) -> None:
        file = tmp_path / "compiler"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setenv("CXX", str(file))
        reach.lacks_compiler.cache_clear()

    yield put
    reach.lacks_compiler.cache_clear()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiler_that_works_is_found(compiler: Callable[[str], None]) -> None:
    compiler('exec g++ "$@"')
    assert LatencyTarget.parse("cpu:compile").compile == "default"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo cannot find cc1plus >&2; exit 1", "cannot find cc1plus"),
        ("exit 4", "it ends with 4"),
        ("exit 0", "cannot open shared object file"),
        ("exec sleep 30", "timed out"),
    ],
    ids=["broken", "silent", "does nothing", "hangs"],
)
def test_a_compiler_that_does_not_work_is_refused(
    compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(reach, "COMPILER_TIMEOUT_S", 1.0)
    compiler(script)
    with pytest.raises(InvalidInputError) as caught:
        LatencyTarget.parse("cpu:compile")
    assert "torch.compile needs a C++ compiler" in str(caught.value)
    assert reason in str(caught.value)
    assert "see the variable CXX; expected a compiler that works: install it, or leave compile out" in str(caught.value)


@pytest.mark.parametrize(("variable", "text"), [("CXX", "cpu:compile"), ("CC", "cuda:compile")])
def test_no_compiler_is_refused(
    compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    _pretend_gpus(monkeypatch, 1)
    compiler("exit 0")
    monkeypatch.setenv(variable, "/nowhere/compiler")
    with pytest.raises(InvalidInputError, match=f"No such file or directory.*see the variable {variable};"):
        LatencyTarget.parse(text)


def test_a_gpu_without_triton_compiles_nothing(
    compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend_gpus(monkeypatch, 1)
    compiler("exit 0")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match="with triton, which cannot be imported"):
        LatencyTarget.parse("cuda:compile")


def test_onnxruntime_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.zoo.onnx.PACKAGES", ("missing_runtime",))
    with pytest.raises(
        InvalidInputError,
        match=r"missing_runtime cannot be imported .*; install this project with the extra `onnx`",
    ):
        LatencyTarget.parse("onnxruntime")


@pytest.mark.parametrize(("gpus", "kind"), [(0, "cpu"), (1, "cuda")])
def test_default_target(gpus: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_gpus(monkeypatch, gpus)
    assert LatencyTarget.parse(default_target()).kind == kind


def test_fingerprint_holds_all_that_makes_timings_comparable() -> None:
    fingerprint = LatencyTarget.read("cpu:threads=2,batch=4").fingerprint((3, 32, 48))
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint.pop("device_name")
    assert fingerprint == {
        "kind": "cpu",
        "threads": 2,
        "batch": 4,
        "dtype": "fp32",
        "memory_format": "contiguous",
        "compile": None,
        "runtime": "torch",
        "runtime_version": torch.__version__,
        "image_size": [3, 32, 48],
    }


def test_fingerprint_of_gpus_goes_by_name_and_not_by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_gpus(monkeypatch, 2, "GPU A")
    first, second = (LatencyTarget.parse(f"cuda:{index}").fingerprint((3, 8, 8)) for index in (0, 1))
    _pretend_gpus(monkeypatch, 2, "GPU B")
    other = LatencyTarget.parse("cuda:0").fingerprint((3, 8, 8))
    assert first == second != other


def test_fingerprint_of_onnxruntime_is_never_that_of_torch() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    target = LatencyTarget.read("onnxruntime:threads=2,batch=3")
    assert LatencyTarget.read(str(target)) == target
    assert target.device == torch.device("cpu", 0), "one lock with every other timing on the CPU"
    fingerprint = target.fingerprint((3, 8, 8))
    assert (fingerprint["runtime"], fingerprint["runtime_version"]) == ("onnxruntime", onnxruntime.__version__)
    assert (fingerprint["threads"], fingerprint["batch"], fingerprint["dtype"]) == (2, 3, "fp32")
    assert fingerprint != LatencyTarget.read("cpu:threads=2,batch=3").fingerprint((3, 8, 8))
