"""Forward and backward pass of one depthwise convolution: the library's beside ours, for each shape of a table.

    python -m benchmarks.convolutions [--batch 64] [--seconds 0.2]

The rule in workers/training/convolutions.py was read from it: which shapes are left to the library, which are cut into
strips, which become products of positions, and what that gives. The two take turns; the fastest of each counts. One
thread, float32, channels_last.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.training.convolutions import depthwise_conv

SHAPES = (
    (384, 2, 3, 1),
    (64, 2, 5, 1),
    (64, 2, 7, 1),
    (256, 4, 3, 1),
    (256, 4, 5, 1),
    (256, 4, 7, 1),
    (64, 6, 7, 1),
    (64, 7, 7, 1),
    (160, 8, 3, 1),
    (160, 8, 5, 1),
    (160, 8, 7, 1),
    (64, 14, 5, 1),
    (64, 14, 7, 1),
    (32, 28, 7, 1),
    (96, 2, 7, 3),
    (96, 4, 7, 3),
    (64, 8, 7, 3),
    (64, 16, 7, 3),
)
"""(channels, side of the map, kernel, dilation)."""


def library(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """What torch does by itself."""
    reach = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, bias, padding=reach, dilation=dilation, groups=len(weight))


def compare(batch: int, channels: int, side: int, kernel: int, dilation: int, seconds: float) -> tuple[float, float]:
    """Milliseconds of a forward and backward pass, the library's and ours."""
    x = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
    leaves = x, torch.randn(channels, 1, kernel, kernel).requires_grad_(), torch.randn(channels).requires_grad_()
    grad = torch.randn_like(x)

    def passes(convolve: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> float:
        started = time.perf_counter()
        torch.autograd.grad(convolve(*leaves, dilation), leaves, grad)
        return 1e3 * (time.perf_counter() - started)

    fastest = [float("inf"), float("inf")]
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        fastest = [min(old, passes(form)) for old, form in zip(fastest, (library, depthwise_conv), strict=True)]
    return fastest[0], fastest[1]


def main() -> None:
    """Print a row for each shape; the ratio comes last."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each shape, after a warm-up")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, batch {options.batch}, one thread")
    print("| channels | map | kernel | dilation | library, ms | ours, ms | ours / library |")
    print("|---|---|---|---|---|---|---|")
    for channels, side, kernel, dilation in SHAPES:
        compare(options.batch, channels, side, kernel, dilation, seconds=0.02)
        theirs, ours = compare(options.batch, channels, side, kernel, dilation, options.seconds)
        row = f"{channels} | {side} x {side} | {kernel} | {dilation} | {theirs:.2f} | {ours:.2f} | {ours / theirs:.2f}"
        print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
