"""What a GPU does for us, in one command within eight minutes, without Ray: latency, training throughput, utilisation,
a proxy trial.

    python -m benchmarks.gpu                        # on the first GPU
    python -m benchmarks.gpu --device cpu --quick   # the same path in small, where there is none

Latency: random architectures timed twice on the target, the second time after all other parts. Throughput: whole
training steps of groupmixformer_tiny and three random architectures at 224 pixels in bf16, eager and compiled. Proxy
trial: steps of the `cifar` recipe on images held in memory, how busy they keep the GPU, and what the whole recipe would
take. Images are random: they cost what real ones do. Last comes the table of benchmarks/training.py on that device.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import search_spaces.presets  # noqa: F401 - registers groupmixformer_tiny with timm
from benchmarks.repeatability import compare
from benchmarks.training import table
from benchmarks.training_probe import SETTINGS
from nas.records import JSON, Latency
from search_spaces.build import build_model
from search_spaces.registry import make_space
from workers.data.batches import TensorBatches
from workers.data.source import DataSource
from workers.latency.device_lock import DeviceLock, device_identity
from workers.latency.measure import measure
from workers.latency.target import LatencyTarget
from workers.training.recipes import RECIPES
from workers.training.trainer import Trainer

SHAPE = 3, 224, 224
WARM_UP_S = 2.0
"""How long is trained before the steps that count."""


def random_specs(count: int, scale: str, size: int, classes: int) -> list[JSON]:
    """Specs of random architectures."""
    space = make_space("hybrid_layout", scale, size, 3, classes)
    rng = np.random.default_rng(0)
    return [space.architecture(space.sample(rng)).to_spec() for _ in range(count)]


def time_all(specs: Sequence[JSON], target: LatencyTarget, lock: DeviceLock) -> list[Latency]:
    """Latency of each, on images of SHAPE."""
    return [measure(build_model(spec), target, SHAPE, lock) for spec in specs]


def images_per_s(
    model: nn.Module, device: torch.device, batch: int, seconds: float, compiled: bool
) -> tuple[float, float]:
    """Training steps in bf16 on channels_last images: (images per second, seconds that the first step took)."""
    model = model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(batch, *SHAPE, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (batch,), device=device)
    network = torch.compile(model) if compiled else model

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = cross_entropy(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    first = _timed(step, device)
    _steps(step, device, WARM_UP_S if device.type == "cuda" else 0.0)
    count, took_s = _steps(step, device, seconds)
    torch.compiler.reset()
    return batch * count / took_s, first


def _timed(step: Callable[[], None], device: torch.device) -> float:
    started = time.monotonic()
    step()
    _wait(device)
    return time.monotonic() - started


def _steps(step: Callable[[], None], device: torch.device, seconds: float) -> tuple[int, float]:
    """Steps for about that long; their number and the seconds that they took."""
    started = time.monotonic()
    count = 0
    while count == 0 or time.monotonic() - started < seconds:
        step()
        count += 1
        if count % 10 == 0:
            _wait(device)
    _wait(device)
    return count, time.monotonic() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def utilisation(device: torch.device) -> Iterator[list[float]]:
    """Collects percentages of time in which the GPU was busy, four times a second; none on a CPU or without
    nvidia-smi."""
    percentages: list[float] = []
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        yield percentages
        return
    uuid = torch.cuda.get_device_properties(device).uuid
    command = [
        "nvidia-smi",
        f"--id=GPU-{uuid}",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "--loop-ms=250",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        reader = threading.Thread(
            target=lambda: percentages.extend(float(line) for line in lines if line.strip().isdigit())
        )
        reader.start()
        try:
            yield percentages
        finally:
            process.terminate()
            reader.join()


def proxy_trial(device: torch.device, steps: int) -> str:
    """Train a random nano network by the first steps of the `cifar` recipe, and say what the whole would take."""
    recipe = RECIPES["cifar"]
    num_train = 45_000
    num_validation = 5_000
    source = DataSource(
        text="random",
        kind="cifar10",
        name="random",
        num_classes=10,
        in_chans=3,
        image_size=32,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        num_train=num_train,
        num_validation=num_validation,
        fingerprint="0" * 64,
    )
    images = [
        torch.randint(256, (count, *source.input_shape), dtype=torch.uint8) for count in (num_train, num_validation)
    ]
    labels = [torch.randint(10, (count,)) for count in (num_train, num_validation)]
    short = replace(recipe, rungs=(2 * steps,))
    batches = TensorBatches((images[0], labels[0]), (images[1], labels[1]), source, short, device)
    model = build_model(random_specs(1, "nano", 32, 10)[0])
    trainer = Trainer(model, batches, short, num_classes=10, seed=0, device=device, computing=nullcontext)
    trainer.advance(steps)
    before = trainer.busy_s
    with utilisation(device) as percentages:
        trainer.advance(2 * steps)
    step_s = (trainer.busy_s - before) / steps
    before = trainer.busy_s
    trainer.validate()
    validation_s = trainer.busy_s - before
    busy = f"GPU busy {statistics.median(percentages):.0f} % (median)" if percentages else "no GPU to be busy"
    return (
        f"{1e3 * step_s:.2f} ms a step of {recipe.batch_size} images over {steps} steps, {busy}; validation "
        f"{validation_s:.2f} s; "
        f"a trial of {recipe.steps:,} steps: {recipe.steps * step_s + validation_s:.0f} s"
    )


def main() -> None:
    """Run all parts and print what they give."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--device", help="cuda:0 by default")
    parser.add_argument("--quick", action="store_true", help="few architectures, batches of 2, a second for each part")
    parser.add_argument("--without-compile", action="store_true", help="no compiled training")
    options = parser.parse_args()
    if options.device is None and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu --quick runs the same path in small")
    device = torch.device(options.device or "cuda:0")
    started = time.monotonic()
    architectures, batch, seconds, steps = (2, 2, 1.0, 5) if options.quick else (20, 128, 8.0, 400)
    target = LatencyTarget.parse(
        f"cuda:{device.index or 0},batch=64,dtype=bf16" if device.type == "cuda" else "cpu:threads=1,batch=1"
    )
    lock = DeviceLock(device_identity(target.device), Path(tempfile.mkdtemp(prefix="gpu-locks-")))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"{name}, torch {torch.__version__}")

    def part(text: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {text}", flush=True)

    specs = random_specs(architectures, "tiny", 224, 1000)
    first = [asdict(latency) for latency in time_all(specs, target, lock)]
    medians = [latency["median_ms"] for latency in first]
    part(f"{len(first)} architectures timed on {target}, {min(medians):.2f} to {max(medians):.2f} ms")
    part(f"proxy trial: {proxy_trial(device, steps)}")
    models = {"groupmixformer_tiny": lambda: timm.create_model("groupmixformer_tiny")}
    models |= {
        f"random {index}": lambda spec=spec: build_model(spec)
        for index, spec in enumerate(specs[: 1 if options.quick else 3], 1)
    }
    for label, make in models.items():
        eager, _ = images_per_s(make(), device, batch, seconds, compiled=False)
        text = f"{label}: training in bf16, batch {batch}, eager {eager:,.1f} images/s"
        if not options.without_compile:
            compiled, compile_s = images_per_s(make(), device, batch, seconds, compiled=True)
            text += f", compiled {compiled:,.1f} ({compiled / eager:.2f} times; the first step took {compile_s:.0f} s)"
        part(text)
    second = [asdict(latency) for latency in time_all(specs, target, lock)]
    values = ", ".join(f"{key} {value:.4g}" for key, value in compare(first, second).items() if value is not None)
    part(f"the same architectures timed again: {values}")
    part("seconds a training step of the sample of benchmarks/training.py")
    table(list(SETTINGS), None, rounds=1, device=str(device), most=1 if options.quick else None)


if __name__ == "__main__":
    main()
