"""How time and memory of the mixers grow with the number of positions, from 196 to 50,176.

    python -m benchmarks.linear_cost [--width 80] [--threads 1] [--mixers key_only group_mix full ...]

Printed is a table of Markdown: the time of a forward pass, in milliseconds (median; processor time with one thread),
the memory in MB that a pass over the largest map allocates at its peak beyond its input, and of both the exponent of a
line fitted to their logarithms: 1 is linear, 2 quadratic. The last column leaves the smallest map out, whose time is
that of many small operations. Knobs are those that a search sets in its first stage. What compares all pairs of
positions is left out unless named, and stops where its products would take minutes.
"""

import argparse
import statistics

import numpy as np
import torch

from benchmarks.mixers import Tokens, make_mixer, measure, settle_heap
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS

HEADS = 4
SIDES = (14, 28, 56, 112, 224)
"""Sides of the map; 224 x 224 are 50,176 positions."""
MOST_PAIRED_POSITIONS = 12_544
LINEAR = tuple(name for name, kind in KINDS.items() if not kind.is_quadratic)


def make(name: str, width: int, side: int) -> torch.nn.Module:
    """A mixer of tokens as the first stage of a search has it."""
    torch.manual_seed(0)
    place = Place(0, side, width)
    return Tokens(name, make_mixer(name, place, HEADS, KINDS[name].searched(place))).eval()


def peak_bytes(mixer: torch.nn.Module, x: torch.Tensor) -> int:
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


def row(name: str, width: int) -> list[str]:
    """The cells of a mixer's line."""
    positions = []
    times = []
    memory = []
    cells = [""] * len(SIDES)
    for place, side in enumerate(SIDES):
        if KINDS[name].is_quadratic and side * side > MOST_PAIRED_POSITIONS:
            continue
        mixer = make(name, width, side)
        x = torch.randn(1, side, side, width)
        with torch.inference_mode():
            (samples,) = measure([lambda mixer=mixer, x=x: mixer(x)], "cpu", 12 if side < 100 else 3)
            memory.append(peak_bytes(mixer, x))
        positions.append(side * side)
        times.append(1e3 * statistics.median(samples))
        cells[place] = f"{times[-1]:.3g}"
    fitted = (exponent(positions, times), exponent(positions, memory), exponent(positions[1:], times[1:]))
    return [name, *cells, f"{memory[-1] / 1e6:.3g}", *(f"{value:.2f}" for value in fitted)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=80)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mixers", nargs="+", choices=tuple(KINDS), default=list(LINEAR))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settle_heap()
    print(f"torch {torch.__version__}, {options.threads} threads, {options.width} channels, batch 1, forward\n")
    columns = ["mixer", *(str(side * side) for side in SIDES), "MB", "time", "memory", "time from 784 on"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in options.mixers:
        print(f"| {' | '.join(row(name, options.width))} |", flush=True)


if __name__ == "__main__":
    main()
