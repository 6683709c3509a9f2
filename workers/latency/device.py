"""What a bundle runs on a device that has a runtime and nothing of ours: it times the entries that it carries.

The runtime is torch with timm, or onnxruntime for entries with an ONNX file. Everything here works without the other
one, and without psutil. workers/latency/bundle.py writes bundles.
"""

import argparse
import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import InvalidInputError, NasError, first_line
from nas.records import JSON, Latency
from workers.latency.alone import MIN_CPU_SAMPLE_S, cpu_timer, time_alone
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.reach import lacks_threads
from workers.latency.sampling import Clock, Forward
from workers.latency.target import LatencyTarget, default_target
from workers.latency.timings import DeviceTiming, timings_text

MANIFEST = "manifest.json"
"""What a bundle carries, beside the entries: their names, architectures and sums."""
ENTRIES = "entries"
ONNX_FILE = "model.onnx"

Time = Callable[[Path, LatencyTarget], Latency]


def main(bundle: Path, words: list[str]) -> int:
    """Time the entries of an unpacked bundle, and write what was found.

    Args:
        bundle: its folder.
        words: of the command line.

    Returns:
        An exit code: 1 if an entry could not be timed, 2 if an argument cannot be used.
    """
    given = _parser().parse_args(words)
    try:
        target = _target(given.latency_target)
        found, failed = _time_all(bundle, target, given.device_name)
        text = timings_text(found)
        if given.json is None:
            sys.stdout.write(text)
        else:
            given.json.write_text(text, encoding="utf-8")
            _say(f"wrote {given.json}; take it in with: launch.py profile --from {given.json.name}")
    except NasError as error:
        _say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        _say(f"error: {error}; give another --json")
        return 1
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python BUNDLE.zip", description="Time the networks of this bundle here.")
    parser.add_argument(
        "--latency-target",
        help="what to time on, such as cpu:threads=1,batch=1, cuda:0,batch=64 or onnxruntime:threads=2; the GPU, one "
        "CPU thread, or onnxruntime without torch, by default",
    )
    parser.add_argument("--device-name", help="call the device this; by default what it calls itself")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write; the output by default")
    return parser


def _target(text: str | None) -> LatencyTarget:
    has_torch = importlib.util.find_spec("torch") is not None
    target = LatencyTarget.read(text or (default_target() if has_torch else "onnxruntime"))
    if target.kind != "onnxruntime":
        _require("torch", "timm")
        return LatencyTarget.parse(str(target))
    _require("onnxruntime")
    lacking = lacks_threads(target.threads or 1)
    if lacking is not None:
        raise InvalidInputError(f"latency target {str(target)!r}: {lacking}; expected as many as there are, or fewer")
    return target


def _require(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InvalidInputError(
                f"{package} is not installed here; install it, or give a --latency-target of what is: cpu and cuda "
                "need torch and timm, onnxruntime needs onnxruntime"
            )


def _time_all(bundle: Path, target: LatencyTarget, device_name: str | None) -> tuple[list[DeviceTiming], int]:
    time: Time = _time_file if target.kind == "onnxruntime" else _time_network
    found: list[DeviceTiming] = []
    failed = 0
    for entry in json.loads((bundle / MANIFEST).read_text(encoding="utf-8")):
        try:
            latency = time(_checked(bundle / ENTRIES / entry["name"], entry["files"]), target)
        except (NasError, RuntimeError, MemoryError, ImportError) as error:
            failed += 1
            _say(f"{entry['name']} cannot be timed: {first_line(error, 'out of memory')}")
            continue
        if device_name is not None:
            latency = replace(latency, target={**latency.target, "device_name": device_name})
        found.append(DeviceTiming(entry["name"], entry["arch_hash"], entry["files"], latency))
        _say(f"{entry['name']}: {latency.median_ms:.3g} ms")
    return found, failed


def _checked(folder: Path, sums: dict[str, str]) -> Path:
    for name, recorded in sums.items():
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != recorded:
            raise InvalidInputError(f"{name} is not the file that was bundled; copy the bundle again")
    return folder


def _input_shape(folder: Path) -> tuple[int, int, int]:
    config: JSON = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    channels, height, width = config["pretrained_cfg"]["input_size"]
    return int(channels), int(height), int(width)


def _time_network(folder: Path, target: LatencyTarget) -> Latency:
    """Time an entry as timm loads it, with its own code."""
    import timm

    from workers.latency.measure import measure

    config: JSON = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.import_module(config["architecture"])
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return measure(model, target, _input_shape(folder), DeviceLock(device_identity(target.device)))


def _time_file(folder: Path, target: LatencyTarget) -> Latency:
    """Time the ONNX file of an entry, without torch."""
    file = folder / ONNX_FILE
    if not file.is_file():
        raise InvalidInputError(f"it has no {ONNX_FILE}; export it with --onnx, or time with torch")
    return time_alone(
        partial(_prepare_file, file, target, _input_shape(folder)),
        Clock(cpu_timer(target.threads), MIN_CPU_SAMPLE_S),
        DeviceLock("cpu"),
        reference=["numpy", target.threads, np.__version__],
        fingerprint=target.fingerprint(_input_shape(folder)),
        observe=dict,
    )


def _prepare_file(file: Path, target: LatencyTarget, input_shape: tuple[int, int, int]) -> tuple[Forward, Forward]:
    """One pass of the network, and one of a small computation that never changes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads or 1
    options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    images = random.standard_normal((target.batch, *input_shape), dtype=np.float32)
    values = random.standard_normal((64, 64), dtype=np.float32)

    def forward() -> object:
        return session.run(None, {"image": images})

    def reference() -> object:
        product = values
        for _ in range(8):
            product = np.tanh(product @ values)
        return product

    forward()
    return forward, reference
