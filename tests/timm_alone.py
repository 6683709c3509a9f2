"""An entry of a zoo as people use it who have timm and nothing of ours."""

from collections.abc import Iterable
from pathlib import Path

import timm
import torch
from PIL import Image

from tests.zoo_entries import load_entry


def top1_through_timm(entry: Path, images: Iterable[tuple[Image.Image, int]], **changed: object) -> float:
    """Share of the images that the network of an entry names rightly, by the entry's own transform.

    Args:
        images: pictures of the mode that the network sees, and their labels.
        changed: parts of the transform's configuration to set otherwise.
    """
    model = load_entry(entry)
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**{**config, **changed})
    pairs = [(transform(image), label) for image, label in images]
    with torch.inference_mode():
        answers = model(torch.stack([image for image, _ in pairs])).argmax(1)
    return float((answers == torch.tensor([label for _, label in pairs])).double().mean())
