"""Which form of key-only attention learns best? The study behind docs/measurements/mixers.md.

    PYTHONPATH=. python benchmarks/key_only.py --seeds 3 --times 2 --output key_only.json

LinGlo's formulas could not be read, so each knob of our reconstruction is a choice. One knob at a time is turned in
three layouts in which key-only attention carries the mixing (alone, alternating with convolution, fused with it), and
each variant is trained with the same seeds as the base. Printed: mean top1, the paired difference from the base with
its standard error over layouts and seeds, and the parameters.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.protocols import Job, RungReached
from search_spaces.architecture.block import BlockSpec
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.hybrid_layout import HybridLayout
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.training.recipes import default_recipe

LAYOUTS = ("pvt", "linglo_alternate", "linglo_fused")
"""Presets of the space, each behind the conv stem, whose short trainings are the most telling
(docs/measurements/proxy.md)."""


def variants() -> dict[str, Mapping[str, str]]:
    """The base, every knob turned alone, and pairs of those that helped or belong together."""
    knobs = KINDS["key_only"].options or {}
    single: dict[str, Mapping[str, str]] = {}
    for knob, values in knobs.items():
        single |= {f"{knob}={value}": {knob: value} for value in values[1:]}
    return {
        "base": {},
        **single,
        "gate=channel, combine=value": {"gate": "channel", "combine": "value"},
        "gate=channel, combine=add": {"gate": "channel", "combine": "add"},
        "gate=channel, source=bottleneck": {"gate": "channel", "source": "bottleneck"},
        "gate=channel, projection=none": {"gate": "channel", "projection": "none"},
        "source=bottleneck, projection=none": {"source": "bottleneck", "projection": "none"},
    }


def with_options(architecture: Architecture, options: Mapping[str, str]) -> Architecture:
    def turned(block: BlockSpec) -> BlockSpec:
        return replace(block, options=tuple(sorted(options.items()))) if block.attention == "key_only" else block

    stages = tuple(replace(stage, blocks=tuple(map(turned, stage.blocks))) for stage in architecture.stages)
    return replace(architecture, stages=stages)


def layouts(data: str) -> dict[str, Architecture]:
    source = open_data(data)
    space = HybridLayout("nano", source.image_size, source.in_chans, source.num_classes)
    presets = space.presets()
    return {name: space.architecture(space.repair({**presets[name], "stem": "conv"})) for name in LAYOUTS}


def open_context(data: str, times: int) -> EvaluationContext:
    recipe = default_recipe(open_data(data))
    folder = tempfile.mkdtemp(prefix="key-only-locks-")
    return EvaluationContext(
        EvaluationConfig(data=data, recipe=replace(recipe, rungs=(times * recipe.steps,)), lock_folder=folder)
    )


def top1(architecture: Architecture, seed: int, context: EvaluationContext) -> float:
    events = evaluate(Job(0, architecture.to_spec(), seed), context)
    event = next(events)
    if not isinstance(event, RungReached):
        raise RuntimeError(f"{architecture.layout()} has no score: {event}")
    events.close()
    return event.score.top1


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--times", type=int, default=2, help="length of a training in default recipes")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--only", action="append", help="a variant beside the base, by its name; all by default")
    parser.add_argument("--output", type=Path, help="write every score as JSON")
    arguments = parser.parse_args(argv)
    context = open_context(arguments.data, arguments.times)
    bases = layouts(arguments.data)
    scores: dict[str, dict[str, list[float]]] = {}
    print(f"{'variant':48} {'mean top1':>9} {'difference':>10} {'s.e.':>6}  parameters   by layout")
    for name, options in variants().items():
        if arguments.only and name not in ("base", *arguments.only):
            continue
        architectures = {layout: with_options(base, options) for layout, base in bases.items()}
        scores[name] = {}
        for layout, architecture in architectures.items():
            scores[name][layout] = [top1(architecture, seed, context) for seed in range(arguments.seeds)]
        values = np.array(list(scores[name].values()))
        paired = values - np.array(list(scores["base"].values()))
        error = paired.std(ddof=1) / np.sqrt(paired.size) if paired.size > 1 and name != "base" else 0.0
        params = sum(costs(architecture).param_count for architecture in architectures.values())
        by_layout = "  ".join(f"{layout} {np.mean(row):.3f}" for layout, row in scores[name].items())
        print(
            f"{name:48} {values.mean():9.3f} {paired.mean():+10.3f} {error:6.3f}  {params:10,}   {by_layout}",
            flush=True,
        )
    if arguments.output:
        arguments.output.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
