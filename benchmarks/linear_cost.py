"""How time and memory of the attentions grow with the number of positions, from 196 to 50,176.

    python -m benchmarks.linear_cost [--width 80] [--threads 1] [--mixers key_only group_mix full ...]

Printed: the time of a forward pass (median), the memory that a forward pass allocates at its peak beyond its input, and
for both the exponent of a line fitted to their logarithms: 1 is linear, 2 quadratic. What is quadratic stops where its
products would take minutes.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.mixers import settle_heap
from search_spaces.architecture.kinds.kind import ATTENTION
from search_spaces.architecture.kinds.registry import KINDS, names
from search_spaces.network.parts import find_part

SIDES = (14, 28, 56, 112, 224)
"""Sides of the map; 224 x 224 are 50,176 positions."""
MOST_PAIRED_POSITIONS = 12_544


def make_mixer(name: str, width: int, side: int) -> nn.Module:
    block: dict[str, Any] = {"heads": 4, "head_dim": width // 4, "map_size": side}
    if name == "group_mix":
        block |= {"head_dim": width // 5, "group_sizes": (1, 3, 5, 7), "conv_branch": True}
    mixer = find_part("mixers", name)(width, block).eval()
    return TwiceRead(mixer) if getattr(mixer, "reads_input", False) else mixer


class TwiceRead(nn.Module):
    """A mixer that reads the block's input too, given the same tokens again."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mixer(x, x)


def seconds(mixer: nn.Module, x: torch.Tensor, repeats: int) -> float:
    """Median of the passes."""
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        mixer(x)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def peak_bytes(mixer: nn.Module, x: torch.Tensor) -> int:
    """The most that was allocated at once during a pass, by the profiler's record of allocations and releases."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        mixer(x)
    allocated = peak = 0
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(changes, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


def exponent(positions: list[int], values: list[float]) -> float:
    """Slope of ln value over ln positions, least squares."""
    return float(np.polyfit(np.log(positions), np.log(values), 1)[0])


def bench(name: str, options: argparse.Namespace) -> None:
    positions = []
    times = []
    memory = []
    print(f"\n{name}\n{'N':>7} {'ms':>10} {'MB':>9}")
    for side in SIDES:
        if KINDS[name].is_quadratic and side * side > MOST_PAIRED_POSITIONS:
            continue
        torch.manual_seed(0)
        mixer = make_mixer(name, options.width, side)
        x = torch.randn(1, side, side, options.width)
        with torch.inference_mode():
            seconds(mixer, x, 2)
            positions.append(side * side)
            times.append(seconds(mixer, x, 20 if side < 100 else 7))
            memory.append(peak_bytes(mixer, x))
        print(f"{positions[-1]:7} {times[-1] * 1e3:10.3f} {memory[-1] / 1e6:9.2f}", flush=True)
    print(f"exponent {exponent(positions, times):9.2f} {exponent(positions, memory):9.2f}")
    print(f"from N = 784 on {exponent(positions[1:], times[1:]):2.2f} {exponent(positions[1:], memory[1:]):9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=80)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mixers", nargs="+", choices=names(ATTENTION), default=list(names(ATTENTION)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settle_heap()
    print(f"torch {torch.__version__}, {options.threads} threads, {options.width} channels, batch 1, forward")
    for name in options.mixers:
        bench(name, options)


if __name__ == "__main__":
    main()
