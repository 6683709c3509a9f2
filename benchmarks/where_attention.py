"""Where attention stands on the front of a search, which kind, and what its genes explain: in words and one picture.

    python launch.py --space hybrid_layout --mixers all --data folder:DIR --recipe benchmarks/short_recipe.json \\
        --budget 100 --study colours
    python -m benchmarks.where_attention --study colours --picture docs/images/where_attention.png

The blocks of the front stand beside those of all evaluated networks, which say what the search offered. A block that
has both an attention and a convolution counts as the attention. Shares of variance are those of `launch.py explain`.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hybrid_nas import api
from nas.analysis.influence import GeneReport
from nas.records import JSON
from search_spaces.architecture.kinds.kind import ATTENTION
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture

GENES = "pattern", "attention", "partner", "group_sizes"
GREY = "#c8c8c8"

Stages = Sequence[Counter[str]]
"""By stage: how many blocks have which mixer."""


def mixers(specs: Iterable[JSON]) -> list[Counter[str]]:
    """By stage: how many blocks have which attention; those without stand under their convolution, if they have one."""
    stages: list[Counter[str]] = []
    for spec in specs:
        for place, stage in enumerate(Architecture.from_spec(spec).stages):
            if place == len(stages):
                stages.append(Counter())
            stages[place].update(filter(None, (block.attention or block.conv for block in stage.blocks)))
    return stages


def words(front: Stages, evaluated: Stages, genes: Sequence[GeneReport]) -> Iterator[str]:
    """A table with one line a stage."""
    yield f"| stage | blocks on the front | with attention | among all evaluated | which | {' | '.join(GENES)} |"
    yield "|---|---|---|---|---|" + "---|" * len(GENES)
    influences = {report.gene: report.top1 for report in genes}
    for number, (best, offered) in enumerate(zip(front, evaluated, strict=True), start=1):
        found = attentions(best)
        which = ", ".join(f"{name} {count}" for name, count in found.most_common(5))
        cells = [str(number), str(best.total()), _percent(found, best), _percent(attentions(offered), offered), which]
        for gene in GENES:
            influence = influences[f"stage{number}_{gene}"]
            cells.append(f"{100 * influence.alone:.0f}, {100 * influence.total:.0f}")
        yield f"| {' | '.join(cells)} |"


def attentions(blocks: Counter[str]) -> Counter[str]:
    return Counter({name: count for name, count in blocks.items() if KINDS[name].role == ATTENTION})


def _percent(part: Counter[str], whole: Counter[str]) -> str:
    return f"{100 * part.total() / whole.total():.0f} %"


def draw(path: Path, front: Stages, evaluated: Stages, title: str) -> None:
    """Two bars a stage: shares of blocks with each attention, among all evaluated and on the front."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    names = [name for name, _ in sum(map(attentions, (*front, *evaluated)), Counter()).most_common()]
    labels = []
    for place, (best, offered) in enumerate(zip(front, evaluated, strict=True)):
        for x, blocks, group in ((2.5 * place, offered, "all"), (2.5 * place + 1, best, "front")):
            bottom = 0.0
            for name in names:
                share = blocks[name] / blocks.total()
                axes.bar(x, share, bottom=bottom, color=KINDS[name].colour, edgecolor="white", linewidth=0.5)
                bottom += share
            axes.bar(x, 1 - bottom, bottom=bottom, color=GREY)
            labels.append((x, f"{group}\nstage {place + 1}"))
    axes.set_xticks(*zip(*labels, strict=True))
    for name in names:
        axes.bar(0, 0, color=KINDS[name].colour, label=KINDS[name].label)
    axes.bar(0, 0, color=GREY, label="convolution alone")
    axes.set_ylabel("share of blocks")
    axes.set_title(title)
    figure.legend(loc="outside right upper", fontsize="small", ncols=1 + len(names) // 20)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True, help="a study of the space hybrid_layout")
    parser.add_argument("--storage")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    study = api.open_study(arguments.study, storage=arguments.storage)
    counted = [trial for trial in study.trials if trial.is_counted]
    members = {member.trial_number for member in study.front.members} if study.front else set()
    front = mixers(trial.spec for trial in counted if trial.trial_number in members)
    evaluated = mixers(trial.spec for trial in counted)
    explained = study.explain().value
    print(f"{arguments.study}: {len(members)} networks on the front of {len(counted)} evaluated")
    for quality in explained.quality:
        print(f"{quality.target}: R2 {quality.r2}, rank correlation {quality.rank_correlation} on held-out trials")
    print("\n".join(words(front, evaluated, explained.genes)))
    if arguments.picture:
        draw(arguments.picture, front, evaluated, f"{arguments.study}, {len(counted)} evaluated")


if __name__ == "__main__":
    main()
