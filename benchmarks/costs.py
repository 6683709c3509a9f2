"""Are the closed-form costs those of the built networks? Random architectures of every scale against fvcore.

    python -m benchmarks.costs --mixers all --architectures 500

Printed for each scale: how many have equal parameters, and the largest relative difference of multiply-adds. Networks
of nano are counted at 32 pixels, the others at 64, which costs less to trace and passes through the same formulas. Ends
with 1 if parameters differ, or multiply-adds by more than 1 %.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from search_spaces.architecture.costs import costs
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.mixer_sets import DEFAULT
from search_spaces.scales import SCALES


def attention_products(inputs: list[Any], outputs: list[Any]) -> int:
    """Q K^T and A V of scaled dot product attention, which fvcore does not know; keys may be fewer than queries."""
    queries, keys, values = (entry.type().sizes() for entry in inputs[:3])
    return int(math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1]))


def count_module_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """fvcore's total, with a handler for attention. fvcore itself uses what torch deprecates, from its import on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.set_op_handle("aten::scaled_dot_product_attention", attention_products)
        return int(analysis.total())


def count_macs(architecture: Architecture) -> int:
    """The same of a whole network, for one image."""
    images = torch.zeros(1, architecture.in_chans, architecture.image_size, architecture.image_size)
    return count_module_macs(build_model(architecture).eval(), images)


def check(scale: str, mixers: str, count: int) -> bool:
    space = HybridLayout(scale, 32 if scale == "nano" else 64, 3, 10, mixers)
    rng = np.random.default_rng(6)
    equal = 0
    worst = 0.0
    for _ in range(count):
        architecture = space.architecture(space.sample(rng))
        cost = costs(architecture)
        with torch.device("meta"):
            equal += sum(value.numel() for value in build_model(architecture).parameters()) == cost.param_count
        worst = max(worst, abs(count_macs(architecture) / cost.macs - 1))
    print(f"{scale}: params equal in {equal} of {count}; macs differ by at most {worst:.2%}", flush=True)
    return equal == count and worst <= 0.01


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=500, help="at every scale")
    parser.add_argument("--mixers", default=DEFAULT, help="as of a search")
    parser.add_argument("--scales", nargs="+", choices=SCALES, default=list(SCALES))
    arguments = parser.parse_args(argv)
    checks = [check(scale, arguments.mixers, arguments.architectures) for scale in arguments.scales]
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
