"""An exported network as a backbone: its maps, and a short fine-tuning on other images beside one from scratch.

    python -m benchmarks.fine_tune zoo/NAME --data digits --steps 48 --seeds 3

timm opens the entry with `features_only`. A linear classifier stands on the mean of the last map. Both networks learn
by the same recipe; one begins with the weights of the entry, the other with new ones. A stopped run goes on where it
was: each training leaves a row.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from benchmarks.rows import append_row, read_rows
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.recipe import Recipe
from workers.training.recipes import search_recipe

ROWS = Path(__file__).parents[1] / "docs" / "measurements" / "fine_tune.jsonl"
WEIGHTS = "exported", "new"


class Classifier(nn.Module):
    """A linear classifier on the mean of a backbone's last map; the entry fits its weights to the images' channels."""

    def __init__(self, entry: Path, pretrained: bool, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            f"local-dir:{entry}", pretrained=pretrained, features_only=True, in_chans=in_chans
        )
        self.head = nn.Linear(self.backbone.feature_info.channels()[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_classes)."""
        return self.head(self.backbone(images)[-1].mean((2, 3)))


def register(entry: Path) -> None:
    """Make the entry known to timm; its module has a name of its own, beside whatever entries are open."""
    config = json.loads((entry / "config.json").read_text(encoding="utf-8"))
    sys.path.insert(0, str(entry))
    importlib.import_module(config["architecture"])


@dataclass(frozen=True, slots=True)
class Tuned:
    """One short training."""

    entry: str
    data: str
    recipe: str
    """Hash of the recipe."""
    steps: int
    weights: str
    """See WEIGHTS."""
    seed: int
    top1: float


def run(entry: Path, data: str, recipe: Recipe, seeds: int, rows: Path) -> Iterator[Tuned]:
    """Train with every seed from both weights, and give the rows; those that stand already are not trained again."""
    source = open_data(data)
    folder = tempfile.mkdtemp(prefix="fine-tune-locks-")
    context = EvaluationContext(EvaluationConfig(data=data, recipe=recipe, lock_folder=folder))
    done = {replace(row, top1=0.0): row for row in _read(rows)}
    for seed in range(seeds):
        for weights in WEIGHTS:
            order = Tuned(entry.name, source.name, recipe.hash, recipe.steps, weights, seed, 0.0)
            if order not in done:
                torch.manual_seed(seed)
                model = Classifier(entry, weights == "exported", source.in_chans, source.num_classes)
                trainer = context.trainer(model, seed)
                trainer.advance(recipe.steps)
                done[order] = replace(order, top1=trainer.rung_score(0, 0.0).top1)
                append_row(rows, asdict(done[order]))
            yield done[order]


def _read(path: Path) -> list[Tuned]:
    return [Tuned(**row) for row in read_rows(path)]


def gain(rows: Sequence[Tuned]) -> str:
    """What the exported weights add, paired by seed, with its standard error."""
    exported, new = (_scores(rows, weights) for weights in WEIGHTS)
    gains = exported - new
    error = f" ({gains.std(ddof=1) / len(gains) ** 0.5:.4f})" if len(gains) > 1 else ""
    means = f"exported {exported.mean():.4f}, new {new.mean():.4f}"
    return f"{means}, difference {gains.mean():+.4f}{error}, {len(gains)} seeds"


def _scores(rows: Sequence[Tuned], weights: str) -> np.ndarray:
    return np.array([row.top1 for row in rows if row.weights == weights])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", type=Path, help="folder of a zoo entry")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe", help="a name or a JSON file; that of a search on the data by default")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=ROWS)
    arguments = parser.parse_args()
    source = open_data(arguments.data)
    recipe = replace(search_recipe(arguments.recipe, source, 1), rungs=(arguments.steps,))
    register(arguments.entry)
    shown = Classifier(arguments.entry, True, source.in_chans, source.num_classes)
    maps = shown.backbone(torch.zeros(1, *source.input_shape))
    print("features_only:", ", ".join(str(tuple(each.shape[1:])) for each in maps))
    rows = []
    for row in run(arguments.entry, arguments.data, recipe, arguments.seeds, arguments.rows):
        print(row, flush=True)
        rows.append(row)
    print(gain(rows))


if __name__ == "__main__":
    main()
