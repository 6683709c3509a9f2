"""Seconds per training step of a fixed sample of architectures, beside the floor and beside another revision.

    python -m benchmarks.training [--against DIR] [--rounds 3] [--scale nano] [--device cuda:0]

The sample is the first 14 `nano` and 4 `mobile` architectures that default_rng(0) drew (training_sample.json). nano
trains by the recipe `nano` on 32 x 32 grey images in batches of 64, mobile by `cifar` on 64 x 64 colour images in
batches of 128. Images are random: they cost what real ones do. One thread.

The floor of an architecture is three times its forward convolutions, linear layers and attention products, each timed
alone: once forward, and twice that for the backward pass. With --against, a checkout of another revision trains the
same architectures in a process of its own; the two take turns within each round. Medians over the rounds; ratios last.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks.training_probe import SETTINGS, make_trainer
from nas.records import JSON

SAMPLE: Mapping[str, list[JSON]] = json.loads((Path(__file__).parent / "training_sample.json").read_text("utf-8"))
"""Scale -> specs."""
STEPS = {"nano": 8, "mobile": 2}
FLOOR_OPS = {
    "aten::convolution",
    "aten::addmm",
    "aten::mm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_attention_math",
}
"""What a network cannot do without."""
FLOOR_S = 0.02
"""How long each of them is repeated; the fastest repetition counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one architecture, in seconds a step."""

    label: str
    step_s: float
    floor_s: float
    other_s: float | None
    loss_difference: float | None
    """Relative, between the revisions."""


class Probe:
    """A process that trains with the code of one folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "training_probe.py")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def train(self, scale: str, spec: JSON, device: str) -> JSON:
        """One answer of training_probe.py."""
        assert self.process.stdin is not None and self.process.stdout is not None
        request = {"scale": scale, "spec": spec, "steps": STEPS[scale], "device": device}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a probe ended early; what it printed stands above")
        answer: JSON = json.loads(line)
        return answer


@contextmanager
def probes(folders: Sequence[Path]) -> Iterator[list[Probe]]:
    """One for each folder; all are gone afterwards."""
    started = [Probe(folder) for folder in folders]
    try:
        yield started
    finally:
        for probe in started:
            probe.process.kill()
            probe.process.wait()


class _Recorder(TorchDispatchMode):
    """Counts the calls of FLOOR_OPS by what they are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.repeat: dict[str, Callable[[], object]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in FLOOR_OPS:
            key = f"{func} {tree_map(_described, args)} {tree_map(_described, kwargs)}"
            self.calls[key] += 1
            self.repeat.setdefault(key, lambda: func(*args, **kwargs))
        return func(*args, **kwargs)


def _described(value: object) -> object:
    """Tensors of one description take the same time."""
    return (tuple(value.shape), value.stride(), value.dtype) if isinstance(value, torch.Tensor) else value


def floor_s(scale: str, spec: JSON, device: torch.device) -> float:
    """Seconds a step if nothing but the products of the network took time."""
    trainer = make_trainer(scale, spec, device)
    images, _ = next(trainer._train_batches)
    recorder = _Recorder()
    with torch.no_grad():
        with recorder:
            trainer._forward(trainer.network.train(), images)
        return 3 * sum(count * _alone_s(recorder.repeat[key], device) for key, count in recorder.calls.items())


def _alone_s(call: Callable[[], object], device: torch.device) -> float:
    call()
    fastest = float("inf")
    until = time.perf_counter() + FLOOR_S
    while time.perf_counter() < until:
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def measure(scales: Sequence[str], against: Path | None, rounds: int, device: str, most: int | None) -> list[Row]:
    """Train the sample, or the first `most` of each scale, round for round, the revisions by turns."""
    here = Path(__file__).resolve().parent.parent
    rows = []
    with probes([here, *([against.resolve()] if against else [])]) as started:
        for scale in scales:
            for index, spec in enumerate(SAMPLE[scale][:most]):
                answers = _by_turns(started, scale, spec, rounds, device)
                floor = floor_s(scale, spec, torch.device(device))
                rows.append(_row(f"{scale} {index}", answers, floor))
                print(_line(rows[-1]), flush=True)
    return rows


def _by_turns(started: Sequence[Probe], scale: str, spec: JSON, rounds: int, device: str) -> list[list[JSON]]:
    """Answers of each probe; who begins changes with the round."""
    answers: list[list[JSON]] = [[] for _ in started]
    for turn in range(rounds):
        order = list(range(len(started)))[:: 1 if turn % 2 == 0 else -1]
        for which in order:
            answers[which].append(started[which].train(scale, spec, device))
    return answers


def _median_s(answers: Sequence[JSON]) -> float:
    return statistics.median(answer["step_s"] for answer in answers)


def _row(label: str, answers: Sequence[Sequence[JSON]], floor: float) -> Row:
    ours, *others = map(_median_s, answers)
    losses = [of_one[0]["loss"] for of_one in answers]
    difference = abs(losses[0] / losses[-1] - 1) if others else None
    return Row(label, ours, floor, others[0] if others else None, difference)


COLUMNS = (
    "architecture",
    "ms a step",
    "floor",
    "step / floor",
    "other revision",
    "its step / floor",
    "losses differ by",
    "new / old",
)


def _line(row: Row) -> str:
    cells = [row.label, f"{1e3 * row.step_s:.1f}", f"{1e3 * row.floor_s:.1f}", f"{row.step_s / row.floor_s:.2f}"]
    if row.other_s is not None:
        cells += [f"{1e3 * row.other_s:.1f}", f"{row.other_s / row.floor_s:.2f}"]
        cells += ["" if row.loss_difference is None else f"{row.loss_difference:.0e}"]
        cells += [f"{row.step_s / row.other_s:.2f}"]
    return f"| {' | '.join(cells)} |"


def _sum(label: str, rows: Sequence[Row]) -> Row:
    others = [row.other_s for row in rows if row.other_s is not None]
    worst = max((row.loss_difference for row in rows if row.loss_difference is not None), default=None)
    return Row(
        label,
        sum(row.step_s for row in rows),
        sum(row.floor_s for row in rows),
        sum(others) if others else None,
        worst,
    )


def table(scales: Sequence[str], against: Path | None, rounds: int, device: str, most: int | None = None) -> None:
    """Measure and print."""
    columns = COLUMNS[: 8 if against else 4]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    rows = measure(scales, against, rounds, device, most)
    for scale in scales:
        print(_line(_sum(f"all of {scale}", [row for row in rows if row.label.startswith(scale)])))
    print(_line(_sum("all", rows)))


def main() -> None:
    """Say on what, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--against", type=Path, help="folder of a checkout of another revision")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each architecture by each revision")
    parser.add_argument("--scale", action="append", choices=SETTINGS, help="may be repeated; all by default")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.against and not (options.against / "launch.py").exists():
        parser.error(f"--against {options.against}: there is no launch.py; give the folder of a checkout")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {options.device}, one thread, {options.rounds} rounds")
    table(options.scale or list(SETTINGS), options.against, options.rounds, options.device)


if __name__ == "__main__":
    main()
