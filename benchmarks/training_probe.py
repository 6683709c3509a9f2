"""Trains architectures that it reads from its input, with the code of the folder that it is started in.

benchmarks/training.py starts one per revision; each line of input is a JSON object, and so is each line of output.
"""

import importlib
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

SETTINGS = {"nano": ("nano", 1, 32), "mobile": ("cifar", 3, 64)}
"""Scale -> recipe, channels and side of the images."""
NUM_CLASSES = 10
NUM_IMAGES = 1024
WARM_UP = 2
"""Steps before those that count."""


def part(name: str, *modules: str) -> Any:
    """`name` of the first of these modules that this revision has."""
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise ImportError(f"this revision has {name} in none of {', '.join(modules)}")


def make_trainer(scale: str, spec: dict[str, Any], device: torch.device) -> Any:
    """A trainer of the spec on random images, the same ones in every revision."""
    recipe_name, channels, side = SETTINGS[scale]
    recipe = replace(part("RECIPES", "workers.training.recipes", "workers.recipe")[recipe_name], rungs=(1_000,))
    source = part("DataSource", "workers.data.source", "workers.data_source")(
        text="random",
        kind="cifar10",
        name="random",
        num_classes=NUM_CLASSES,
        in_chans=channels,
        image_size=side,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        num_train=NUM_IMAGES,
        num_validation=NUM_IMAGES,
        fingerprint="0" * 64,
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (NUM_IMAGES, channels, side, side), generator=generator, dtype=torch.uint8)
    labelled = images, torch.randint(NUM_CLASSES, (NUM_IMAGES,), generator=generator)
    batches = part("TensorBatches", "workers.data.batches", "workers.batches")(
        labelled, labelled, source, recipe, device
    )
    torch.manual_seed(0)
    model = part("build_model", "search_spaces.build")(spec)
    trainer = part("Trainer", "workers.training.trainer", "workers.train")
    return trainer(model, batches, recipe, num_classes=NUM_CLASSES, seed=0, device=device, computing=nullcontext)


def answer(request: dict[str, Any]) -> dict[str, float]:
    """Seconds a step, and the mean loss of all steps."""
    trainer = make_trainer(request["scale"], request["spec"], torch.device(request["device"]))
    loss = trainer.advance(WARM_UP)
    before_s = trainer.busy_s
    loss += trainer.advance(WARM_UP + request["steps"])
    return {"step_s": (trainer.busy_s - before_s) / request["steps"], "loss": loss / 2}


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
