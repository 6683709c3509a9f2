"""An exported network as a backbone: its maps, and a short fine-tuning on other images beside one from scratch.

    python -m benchmarks.fine_tune zoo/NAME --data digits --steps 48 --seeds 3

timm opens the entry with `features_only`. A linear classifier stands on the mean of the last map. Both networks learn
by the same recipe; one begins with the weights of the entry, the other with new ones.
"""

import argparse
import importlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from search_spaces.zoo.bundle import DOOR
from workers.data.registry import open_data
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.training.recipes import search_recipe


class Classifier(nn.Module):
    """A linear classifier on the mean of a backbone's last map."""

    def __init__(self, entry: str, pretrained: bool, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.backbone = timm.create_model(f"local-dir:{entry}", pretrained=pretrained, features_only=True)
        self.head = nn.Linear(self.backbone.feature_info.channels()[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_chans or 1, H, W) -> (B, num_classes); grey images are repeated."""
        maps = self.backbone(images.expand(-1, self.in_chans, -1, -1))
        return self.head(maps[-1].mean((2, 3)))


def _register(entry: Path) -> int:
    """Make the entry known to timm, as its card says, and give the channels of its images."""
    sys.path.insert(0, str(entry))
    importlib.import_module(DOOR)
    config = json.loads((entry / "config.json").read_text(encoding="utf-8"))
    return int(config["pretrained_cfg"]["input_size"][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", help="folder of a zoo entry")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe", help="a name or a JSON file; that of a search on the data by default")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    source = open_data(arguments.data)
    recipe = replace(search_recipe(arguments.recipe, source, 1), rungs=(arguments.steps,))
    folder = tempfile.mkdtemp(prefix="fine-tune-locks-")
    context = EvaluationContext(EvaluationConfig(data=arguments.data, recipe=recipe, lock_folder=folder))
    in_chans = _register(Path(arguments.entry))
    shown = Classifier(arguments.entry, True, in_chans, source.num_classes)
    maps = shown.backbone(torch.zeros(1, in_chans, source.image_size, source.image_size))
    print("features_only:", ", ".join(str(tuple(each.shape[1:])) for each in maps))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(arguments.seeds):
        for pretrained in scores:
            torch.manual_seed(seed)
            model = Classifier(arguments.entry, pretrained, in_chans, source.num_classes)
            trainer = context.trainer(model, seed)
            trainer.advance(recipe.steps)
            scores[pretrained].append(trainer.rung_score(0, 0.0).top1)
            print(
                f"seed {seed}, {'exported' if pretrained else 'new'} weights: {scores[pretrained][-1]:.4f}", flush=True
            )
    gain = np.array(scores[True]) - np.array(scores[False])
    print(
        f"{arguments.data}, {recipe.steps} steps: exported {np.mean(scores[True]):.4f}, "
        f"new {np.mean(scores[False]):.4f}, difference {gain.mean():+.4f} ({gain.std(ddof=1) / len(gain) ** 0.5:.4f})"
    )


if __name__ == "__main__":
    main()
