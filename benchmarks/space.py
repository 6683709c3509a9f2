"""Is every genotype a network? Repair, hashes, costs, mutation and gradients of `hybrid_layout` at scale.

    PYTHONPATH=. python benchmarks/space.py --genotypes 100000 --architectures 500 --trained 300

Printed: the time to repair random genotypes to valid architectures and that a second repair changes nothing; whether
another process computes the same hashes; the time of the costs, and whether parameters equal the built network's at
every scale; whether every parameter gets a finite gradient, at 32 and at 64 pixels; and what mutation changes. Ends
with 1 if anything does not hold.
"""

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch

from nas.records import Genotype
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.mixer_sets import DEFAULT
from search_spaces.scales import SCALES


def make(scale: str, mixers: str) -> HybridLayout:
    return HybridLayout(scale, 32 if scale == "nano" else 224, 3, 10, mixers)


def raw_genotypes(space: HybridLayout, count: int, seed: int = 0) -> list[Genotype]:
    """Every gene uniform, valid or not."""
    rng = np.random.default_rng(seed)
    indices = rng.integers([len(gene.values) for gene in space.genes], size=(count, len(space.genes)))

    def genotype(row: np.ndarray) -> Genotype:
        return {gene.name: gene.values[i] for gene, i in zip(space.genes, row, strict=True)}

    return [genotype(row) for row in indices]


def digest(scale: str, mixers: str, count: int) -> str:
    """One hash over the hashes of `count` repaired random genotypes."""
    space = make(scale, mixers)
    hashes = (space.architecture(space.repair(genotype)).arch_hash for genotype in raw_genotypes(space, count))
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def check_repair(scale: str, mixers: str, count: int) -> bool:
    space = make(scale, mixers)
    raw = raw_genotypes(space, count)
    start = time.perf_counter()
    repaired = [space.repair(genotype) for genotype in raw]
    architectures = [space.architecture(genotype) for genotype in repaired]
    took = time.perf_counter() - start
    changed = sum(one != other for one, other in zip(raw, repaired, strict=True))
    again = all(space.repair(genotype) == genotype for genotype in repaired)
    valid = all(Architecture.from_spec(architecture.to_spec()) == architecture for architecture in architectures)
    start = time.perf_counter()
    for architecture in architectures:
        space.costs(architecture)
    each_ms = (time.perf_counter() - start) / count * 1e3
    few = min(count, 20_000)
    command = [sys.executable, __file__, "--digest", scale, "--mixers", mixers, "--genotypes", str(few)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    stable = other == digest(scale, mixers, few)
    print(
        f"{scale}: {count:,} genotypes repaired ({changed:,} changed) and made architectures in {took:.1f} s; "
        f"valid {valid}; "
        f"repair idempotent {again}; hashes of another process equal {stable}; costs {each_ms:.3f} ms each"
    )
    return again and valid and stable


def check_costs(scale: str, mixers: str, count: int) -> bool:
    space = make(scale, mixers)
    equal = 0
    for genotype in raw_genotypes(space, count, seed=1):
        architecture = space.architecture(space.repair(genotype))
        with torch.device("meta"):
            built = sum(parameter.numel() for parameter in build_model(architecture.to_spec()).parameters())
        equal += built == space.costs(architecture).param_count
    print(f"{scale}: param_count equals the built network for {equal} of {count} architectures")
    return equal == count


def check_gradients(mixers: str, count: int) -> bool:
    space = make("nano", mixers)
    fine = 0
    for genotype in raw_genotypes(space, count, seed=2):
        torch.manual_seed(0)
        model = build_model(space.architecture(space.repair(genotype)).to_spec())
        fine += all(_gradients_are_finite(model, size) for size in (32, 64))
    print(f"nano: forward, backward and finite gradients for every parameter, at 32 and 64 pixels: {fine} of {count}")
    return fine == count


def _gradients_are_finite(model: torch.nn.Module, size: int) -> bool:
    model.zero_grad(set_to_none=True)
    loss = model(torch.randn(2, 3, size, size)).square().sum()
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    return bool(torch.isfinite(loss)) and all(
        gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients
    )


def check_mutation(mixers: str, count: int) -> bool:
    space = make("nano", mixers)
    rng = np.random.default_rng(3)
    changed = 0
    for genotype in raw_genotypes(space, count, seed=4):
        parent = space.repair(genotype)
        child = space.mutate(parent, rng)
        changed += space.architecture(child).arch_hash != space.architecture(parent).arch_hash
    print(f"nano: mutation gave another architecture for {changed} of {count}")
    return changed == count


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genotypes", type=int, default=100_000)
    parser.add_argument("--architectures", type=int, default=500, help="built at every scale")
    parser.add_argument("--trained", type=int, default=300, help="taken one step forward and backward")
    parser.add_argument("--mixers", default=DEFAULT, help="as of a search")
    parser.add_argument(
        "--digest", metavar="SCALE", help="print only the hash of this scale's genotypes (for the other process)"
    )
    arguments = parser.parse_args(argv)
    if arguments.digest:
        print(digest(arguments.digest, arguments.mixers, arguments.genotypes))
        return 0
    mixers = arguments.mixers
    checks = [check_repair(scale, mixers, arguments.genotypes) for scale in ("nano", "base")]
    checks += [check_mutation(mixers, arguments.trained), check_gradients(mixers, arguments.trained)]
    checks += [check_costs(scale, mixers, arguments.architectures) for scale in SCALES]
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
