"""Does a wider choice of mixers find better fronts with the same budget?

    python -m benchmarks.mixer_sets search --budget 100 --seeds 3    # hours; goes on where it was stopped
    python -m benchmarks.mixer_sets report

`search` runs whole searches that differ in `--mixers` and seed alone. `report` measures the hypervolume of all of them
from one reference point, the farthest of theirs, after 50 evaluations and at the end.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from hybrid_nas import api
from hybrid_nas.study import Study
from nas.pareto.history import history_of
from nas.records import JSON
from search_spaces.architecture.kinds.kind import ATTENTION
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture

CHOICES = {"core": "core", "default": None, "efficient": "efficient", "all": "all"}
CHECKPOINTS = 50, 100


def run_search(arguments: argparse.Namespace) -> None:
    for seed in range(arguments.seeds):
        for choice in arguments.choices:
            study = api.search(
                space="hybrid_layout",
                budget=arguments.budget,
                study=_name(choice, seed),
                storage=arguments.storage,
                data=arguments.data,
                recipe=arguments.recipe,
                mixers=CHOICES[choice],
                seed=seed,
                quiet=True,
            )
            front = study.front
            assert front is not None
            print(choice, seed, f"{front.hypervolume:.4f}", flush=True)


def _name(choice: str, seed: int) -> str:
    return f"mixers-{choice}-{seed}"


def report(studies: dict[str, list[Study]]) -> Iterator[str]:
    """One line a choice."""
    records = [study.record for study in chain.from_iterable(studies.values())]
    costs = [record.reference_point[1] for record in records]
    reference_point = (records[0].reference_point[0], max(costs))
    yield f"hypervolume from ({reference_point[0]:g}, {reference_point[1]:.3g} ms), mean and standard deviation"
    yield ""
    yield (
        "| `--mixers` | seeds | " + " | ".join(f"after {count}" for count in CHECKPOINTS) + " | best top1 | on fronts |"
    )
    yield "|---|---|" + "---|" * len(CHECKPOINTS) + "---|---|"
    for choice, found in studies.items():
        cells = [choice, str(len(found))]
        for count in CHECKPOINTS:
            cells.append(_spread([_hypervolume(study, count, reference_point) for study in found]))
        cells += [_spread([_best(study) for study in found]), _mixers_on_fronts(found)]
        yield f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})"


def _hypervolume(study: Study, count: int, reference_point: tuple[float, float]) -> float:
    history = history_of(study.trials, study.record.cost_objective, reference_point)
    reached = [growth.hypervolume for growth in history.growths if growth.evaluated <= count]
    return reached[-1] if reached else 0.0


def _best(study: Study) -> float:
    front = study.front
    assert front is not None
    return front.members[-1].top1


def _mixers_on_fronts(studies: Sequence[Study]) -> str:
    """Attentions in blocks of the front's networks, the most frequent first."""
    blocks: Counter[str] = Counter()
    for study in studies:
        front = study.front
        assert front is not None
        members = {member.trial_number for member in front.members}
        for trial in study.trials:
            if trial.trial_number in members:
                blocks.update(_mixers(trial.spec))
    attentions = [(name, count) for name, count in blocks.most_common() if KINDS[name].role == ATTENTION]
    convolutions = sum(count for name, count in blocks.items() if KINDS[name].role != ATTENTION)
    words = [f"{name} {count}" for name, count in attentions[:5]]
    return ", ".join([f"convolutions {convolutions}", *words])


def _mixers(spec: JSON) -> Iterator[str]:
    for stage in Architecture.from_spec(spec).stages:
        for block in stage.blocks:
            yield from filter(None, (block.conv, block.attention))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "report"))
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe")
    parser.add_argument("--storage", default="sqlite:///runs/mixer_sets.db")
    arguments = parser.parse_args()
    if arguments.what == "search":
        run_search(arguments)
        return
    recorded = {summary.study.name for summary in api.studies(arguments.storage)}
    studies = {}
    for choice in arguments.choices:
        names = [_name(choice, seed) for seed in range(arguments.seeds) if _name(choice, seed) in recorded]
        if names:
            studies[choice] = [api.open_study(name, storage=arguments.storage) for name in names]
    print("\n".join(report(studies)))


if __name__ == "__main__":
    main()
