"""Which bundled task lets a search see where attention should stand? The study behind docs/measurements/task.md.

    python -m benchmarks.relations contrasts --task odd3_40 --seeds 0 1
    python -m benchmarks.relations random --task odd3_40 --architectures 75 --every 5
    python -m benchmarks.relations report --task odd3_40

`contrasts` trains hand-picked networks that differ in what mixes positions, and where. `random` trains random
architectures, and one of `--every` for four times the steps with another seed. Both write one row a training, so they
go on where they were stopped. `report` prints what the genes explain of top1 by the code of `explain`, what those of
placement and kind of attention explain together, and Kendall's tau between short and long trainings.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.rows import append_row, read_rows
from nas.analysis.explain import gene_quality
from nas.analysis.influence import POINTS, VARIANCE_POINTS, gene_reports
from nas.protocols import traits_of
from nas.records import JSON, Genotype
from nas.surrogates.gene_model import GeneModel
from nas.surrogates.genes import GeneLevels
from nas.surrogates.quality import agreement
from nas.surrogates.threads import one_thread
from search_spaces.build import build_model
from search_spaces.hybrid_layout import HybridLayout
from workers.data.batches import TensorBatches
from workers.data.digits import SOURCE_SHARES, Canvases, handwritten, make_canvases, with_pixels
from workers.data.outline import DIGITS, NUM_CLASSES, Split
from workers.data.source import DataSource
from workers.recipe import Recipe
from workers.training.trainer import Trainer

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "task.jsonl"
CPU = torch.device("cpu")
CELL = 8
"""Side of a cell and of a source image, pixels."""
NOISE = 0.05
"""Standard deviation of the pixel noise; full brightness is 1."""
LONG = 4
"""Steps of a long training, in those of a short one."""
LONG_SEED = 1000
"""Unlike every seed of a short training, so that the two share no luck."""
COLOURS = torch.tensor([[1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1], [1, 1, 0.1]])
CONTRASTS = (
    "D3/D3",
    "D7/D7",
    "M3/M3",
    "D3/full",
    "full/D3",
    "full/full",
    "D3/key_only",
    "key_only/key_only",
    "D3/group_mix",
    "D3/channel_group",
    "D3/lka",
)
"""What mixes positions in all stages but the last / in the last; M3: mbconv with kernel 3, D3: dwconv."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "pattern, attention, partner, group_sizes": ("pattern", "attention", "partner", "group_sizes"),
    "pattern": ("pattern",),
    "attention, partner, group_sizes": ("attention", "partner", "group_sizes"),
    "stem": ("stem",),
    "conv, kernel": ("conv", "kernel"),
    "depth, width, ratio, head_dim, period": ("depth", "width", "ratio", "head_dim", "period"),
}
"""Genes of all stages taken together."""


def odd(split: Split, num: int, count: int, cells: int, noise: float = NOISE) -> Canvases:
    """All digits but one are of the same class; the label is the class of that one."""
    generator = _generator(split)
    classes = _different(num, NUM_CLASSES, 2, generator)
    shown = torch.cat([classes[:, :1], classes[:, 1:].expand(-1, count - 1)], dim=1)
    glyphs = handwritten(shown, split, generator)[:, :, None]
    return Canvases(_canvas(glyphs, cells, generator, noise), classes[:, 0])


def asked(split: Split, num: int, count: int, cells: int) -> Canvases:
    """Digits of different colours, and a square of one of the colours; the label is the digit of that colour."""
    generator = _generator(split)
    classes = _different(num, NUM_CLASSES, count, generator)
    tints = COLOURS[_different(num, len(COLOURS), count, generator)][..., None, None]
    square = tints[:, :1].expand(-1, -1, -1, CELL, CELL)
    glyphs = torch.cat([handwritten(classes, split, generator)[:, :, None] * tints, square], dim=1)
    return Canvases(_canvas(glyphs, cells, generator), classes[:, 0])


def _generator(split: Split) -> torch.Generator:
    return torch.Generator().manual_seed(list(SOURCE_SHARES).index(split))


def _different(num: int, choices: int, count: int, generator: torch.Generator) -> Tensor:
    """(num, count) int64: in each row different numbers from 0 to choices - 1, in random order."""
    return torch.rand(num, choices, generator=generator).argsort(dim=1)[:, :count]


def _canvas(glyphs: Tensor, side: int, generator: torch.Generator, noise: float = NOISE) -> Tensor:
    """Each glyph in a random cell of its own, with noise.

    Args:
        glyphs: (num, count, channels, 8, 8) float in [0, 1].
        side: cells on a side.
        noise: its standard deviation.

    Returns:
        (num, channels, 8 side, 8 side) uint8.
    """
    num, count, channels = glyphs.shape[:3]
    board = torch.zeros(num, side * side, channels, CELL, CELL)
    board[torch.arange(num)[:, None], _different(num, side * side, count, generator)] = glyphs
    rows = board.view(num, side, side, channels, CELL, CELL).permute(0, 3, 1, 4, 2, 5)
    images = rows.reshape(num, channels, side * CELL, side * CELL)
    images = images + noise * torch.randn(images.shape, generator=generator)
    return (images.clamp_(0, 1) * 255).round_().to(torch.uint8)


TASKS: Mapping[str, Callable[[Split, int], Canvases]] = {
    "digits": make_canvases,
    "asked2_40": partial(asked, count=2, cells=5),
    "odd3_24": partial(odd, count=3, cells=3),
    "odd3_32": partial(odd, count=3, cells=4),
    "odd3_40": partial(odd, count=3, cells=5),
    "odd4_40": partial(odd, count=4, cells=5),
    "odd6_40": partial(odd, count=6, cells=5),
    "noisy3_24": partial(odd, count=3, cells=3, noise=0.3),
}
"""Things on the canvas and its side in pixels stand in the name; noisy: the odd digit under six times the noise."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One task, drawn, and the space of its networks."""

    space: HybridLayout
    source: DataSource
    train: Canvases
    validation: Canvases


@lru_cache(maxsize=1)
def opened(task: str) -> Opened:
    train = TASKS[task]("train", 4096 if task == "digits" else 8192)
    validation = TASKS[task]("validation", 1024)
    source = replace(DIGITS, in_chans=train.images.shape[1], image_size=train.images.shape[-1])
    source = with_pixels(source, train, validation)
    space = HybridLayout("nano", source.image_size, source.in_chans, source.num_classes)
    return Opened(space, source, train, validation)


def train(task: str, genotype: Genotype, recipe: Recipe, seed: int) -> JSON:
    """What a row says of one training: top1, mean loss, processor time and layout."""
    known = opened(task)
    architecture = known.space.architecture(genotype)
    start_s = time.process_time()
    torch.manual_seed(seed)
    splits = [(part.images, part.labels) for part in (known.train, known.validation)]
    batches = TensorBatches(*splits, known.source, recipe, CPU)
    trainer = Trainer(
        build_model(architecture),
        batches,
        recipe,
        num_classes=known.source.num_classes,
        seed=seed,
        device=CPU,
        computing=nullcontext,
    )
    score = list(trainer.run())[-1]
    cpu_s = round(time.process_time() - start_s, 2)
    return {"top1": score.top1, "loss": round(score.loss, 4), "cpu_s": cpu_s, "layout": architecture.layout()}


def contrast(space: HybridLayout, name: str) -> Genotype:
    """The network of CONTRASTS: conv stem, two blocks a stage, middle widths."""
    genotype = {gene.name: gene.values[len(gene.values) // 2] for gene in space.genes} | {"stem": "conv"}
    stages = sum(gene.name.endswith("_pattern") for gene in space.genes)
    early, late = name.split("/")
    for stage in range(1, stages + 1):
        chosen = _mixer(late, 5) if stage == stages else _mixer(early, 7)
        genes = {"depth": 2, "head_dim": 16, "ratio": 3, "group_sizes": "1-3-5", **chosen}
        genotype |= {f"stage{stage}_{gene}": value for gene, value in genes.items()}
    return space.repair(genotype)


def _mixer(word: str, max_kernel: int) -> Genotype:
    """The genes of a stage that the word of a contrast sets."""
    if word[0] not in "MD":
        return {"pattern": "attention", "attention": word}
    conv = {"M": "mbconv", "D": "dwconv"}[word[0]]
    return {"pattern": "conv", "conv": conv, "kernel": min(int(word[1:]), max_kernel)}


def drawn(space: HybridLayout, count: int) -> list[Genotype]:
    """Random genotypes of different architectures, the same for equal spaces."""
    rng = np.random.default_rng(0)
    found: dict[str, Genotype] = {}
    while len(found) < count:
        genotype = space.sample(rng)
        found.setdefault(space.architecture(genotype).arch_hash, genotype)
    return list(found.values())


def run_contrasts(arguments: argparse.Namespace) -> None:
    space = opened(arguments.task).space
    for seed in arguments.seeds:
        for name in arguments.names:
            _run(arguments, name, contrast(space, name), arguments.times, seed)


def run_random(arguments: argparse.Namespace) -> None:
    genotypes = drawn(opened(arguments.task).space, arguments.architectures)
    for number, genotype in enumerate(genotypes):
        _run(arguments, f"random{number}", genotype, 1, 0)
        if arguments.every and number % arguments.every == 0:
            _run(arguments, f"random{number}", genotype, LONG, LONG_SEED)


def _run(arguments: argparse.Namespace, name: str, genotype: Genotype, times: int, seed: int) -> None:
    """Train and write the row, unless it is there."""
    what = {"task": arguments.task, "recipe": arguments.recipe, "name": name, "times": times, "seed": seed}
    if any(what.items() <= row.items() for row in read_rows(arguments.rows)):
        return
    row = {**what, **train(arguments.task, genotype, parsed(arguments.recipe, times), seed)}
    append_row(arguments.rows, row)
    print(*row.values(), flush=True)


def parsed(text: str, times: int) -> Recipe:
    """A recipe by its steps, batch size and learning rate: "256x32@4e-3", for `times` the steps."""
    size, learning_rate = text.split("@")
    steps, batch_size = size.split("x")
    return Recipe(rungs=(times * int(steps),), batch_size=int(batch_size), learning_rate=float(learning_rate))


def report(arguments: argparse.Namespace) -> Iterator[str]:
    rows = [row for row in read_rows(arguments.rows) if row["task"] == arguments.task]
    random = [row for row in rows if row["name"].startswith("random") and row["recipe"] == arguments.recipe]
    yield from _contrast_table([row for row in rows if not row["name"].startswith("random")])
    short = {row["name"]: row for row in random if row["times"] == 1}
    long = {row["name"]: row["top1"] for row in random if row["times"] == LONG}
    if not short:
        return
    top1 = np.array([row["top1"] for row in short.values()])
    cpu_s = np.mean([row["cpu_s"] for row in short.values()])
    quartiles = " ".join(f"{value:.3f}" for value in np.quantile(top1, (0, 0.25, 0.5, 0.75, 1)))
    yield f"{len(top1)} random architectures: quartiles of top1 {quartiles}, {cpu_s:.1f} s of processor time"
    both = [name for name in short if name in long]
    found = agreement(np.array([short[name]["top1"] for name in both]), np.array([long[name] for name in both]))
    if found:
        yield f"Kendall's tau to {LONG} times the steps: {found.tau:.2f} ({found.low:.2f} to {found.high:.2f})"
        yield "after them: " + " ".join(f"{value:.3f}" for value in sorted(long.values()))
    yield from _shares(opened(arguments.task).space, [int(name.removeprefix("random")) for name in short], top1)


def _contrast_table(rows: Sequence[JSON]) -> Iterator[str]:
    for row in sorted(rows, key=lambda row: (row["recipe"], row["times"], row["name"], row["seed"])):
        told = [row[key] for key in ("recipe", "times", "name", "seed", "top1", "cpu_s")]
        yield f"| {' | '.join(f'{value:.3g}' if isinstance(value, float) else str(value) for value in told)} |"


def _shares(space: HybridLayout, numbers: Sequence[int], top1: np.ndarray) -> Iterator[str]:
    """What genes, and groups of them, explain of top1 by the surrogate of `explain`."""
    genotypes = drawn(space, max(numbers) + 1)
    rows = GeneLevels(space.genes).rows([genotypes[number] for number in numbers])
    with one_thread():
        quality = gene_quality(space, rows, top1, "top1")
        model = GeneModel(space.genes, traits_of(space)).fit(rows, top1)
        genes = gene_reports(space, lambda rows: np.column_stack([model.mean(rows)] * 2))
        yield f"held out: R2 {quality.r2:.2f}, rank correlation {quality.rank_correlation:.2f}"
        for name, members in GROUPS.items():
            alone, total = group_shares(space, model, members)
            yield f"| {name} | {100 * alone:.0f} | {100 * total:.0f} |"
    for gene in genes[:12]:
        yield f"| {gene.gene} | {100 * gene.top1.alone:.0f} | {100 * gene.top1.total:.0f} |"


def group_shares(space: HybridLayout, model: GeneModel, members: Sequence[str]) -> tuple[float, float]:
    """Sobol indices of genes taken together: the shares that they explain alone, and with their interactions.

    Args:
        members: names of genes without their stage.

    Source: as nas/analysis/influence.py, with blocks of random values in the place of one gene's.
    """
    rng = np.random.default_rng(0)
    sizes = [len(gene.values) for gene in space.genes]
    inside = np.array([gene.name.partition("_")[2] in members or gene.name in members for gene in space.genes])
    levels = GeneLevels(space.genes)

    def at(raw: np.ndarray) -> np.ndarray:
        return model.mean(levels.rows([space.repair(levels.genotype(row)) for row in raw]))

    variance = at(rng.integers(sizes, size=(VARIANCE_POINTS, len(sizes)))).var()
    fixed = rng.integers(sizes, size=(POINTS, 1, len(sizes)))
    varied = rng.integers(sizes, size=(POINTS, 32, len(sizes)))
    within, outside = [
        at(np.where(free, varied, fixed).reshape(-1, len(sizes))).reshape(POINTS, -1).var(axis=1, ddof=1).mean()
        for free in (inside, ~inside)
    ]
    return 1 - outside / variance, within / variance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("contrasts", "random", "report"))
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--recipe", default="256x32@4e-3", help="steps x batch size @ learning rate")
    parser.add_argument("--names", nargs="+", choices=CONTRASTS, default=list(CONTRASTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--times", type=int, default=1, help="the steps of contrasts, in those of the recipe")
    parser.add_argument("--architectures", type=int, default=75)
    parser.add_argument("--every", type=int, default=5, help="which of the random ones are trained long; 0 for none")
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "report":
        print("\n".join(report(arguments)))
    else:
        {"contrasts": run_contrasts, "random": run_random}[arguments.what](arguments)


if __name__ == "__main__":
    main()
