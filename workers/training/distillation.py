"""Distillation: a trained network, the teacher, whose answers a student learns beside the labels."""

import hashlib
from pathlib import Path, PurePath
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models._hub import load_model_config_from_path
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from nas.errors import InvalidInputError, first_line, listed
from nas.files import user_path
from nas.records import JSON
from search_spaces.network.entrypoint import build_hybrid_backbone
from search_spaces.zoo.bundle import DOOR
from search_spaces.zoo.proof import check_entry
from workers.data.source import DataSource
from workers.recipe import Recipe

LOCAL = "local-dir:"


class Teacher(nn.Module):
    """A frozen network in inference mode that takes the student's images.

    Args:
        network: takes images normalised by its own mean and standard deviation.
        identity: name and digest of the weights.
        mean, std: per channel, of the network.
        source: has the mean and standard deviation of the student's images.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(self, network: nn.Module, identity: str, mean: Tensor, std: Tensor, source: DataSource) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.identity = identity
        own_mean = torch.tensor(source.mean)
        own_std = torch.tensor(source.std)
        self.register_buffer("_scale", (own_std / std).view(1, -1, 1, 1))
        self.register_buffer("_shift", ((own_mean - mean) / std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images * self._scale + self._shift)
        return logits


def locate(text: str) -> str:
    """What names the same teacher from another working directory: local-dir: with an absolute path, or the name of a
    model of timm."""
    path = user_path(text.removeprefix(LOCAL))
    return f"{LOCAL}{path.resolve()}" if text.startswith(LOCAL) or path.is_dir() else text


def load_teacher(text: str, source: DataSource, image_size: int) -> Teacher:
    """The teacher that `--teacher` names, on the CPU.

    Args:
        text: a folder with timm's config.json and weights, as `launch.py export` writes them, with or without
            local-dir: before it; else the name of a pretrained model of timm, whose weights timm downloads.
        source: what it shall look at.
        image_size: side of the training images, pixels.

    Raises:
        InvalidInputError: if there is no such model, it is not what its zoo says that was exported, or it has other
            classes, channels or image sizes than the data.
    """
    found = locate(text)
    if found.startswith(LOCAL):
        check_entry(Path(found.removeprefix(LOCAL)))
    try:
        network = _open(found)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = first_line(error)
        expected = "a folder as `launch.py export` writes it, or the name of a pretrained model of timm"
        raise InvalidInputError(f"teacher {text!r} cannot be loaded ({reason}); expected {expected}") from error
    config: JSON = network.pretrained_cfg
    channels = (config.get("input_size") or (len(config["mean"]),))[0]
    for what, has, wanted in (
        ("classes", network.num_classes, source.num_classes),
        ("image channels", channels, source.in_chans),
    ):
        if has != wanted:
            raise InvalidInputError(
                f"teacher {text!r} has {has} {what}, the data {wanted}; give one that was trained on these classes"
            )
    names = tuple(config.get("label_names") or ())
    if names != source.label_names and set(names) & set(source.label_names):
        raise InvalidInputError(
            f"teacher {text!r} has other classes than the data, or in another order: its first are "
            f"{listed(names)}, those of the data {listed(source.label_names)}; give one that was trained on these"
        )
    mean = torch.tensor(config["mean"])
    std = torch.tensor(config["std"])
    name = PurePath(found).name  # where a folder lies is nobody's business
    teacher = Teacher(network, f"{name} sha256:{_digest(network)[:16]}", mean, std, source)
    try:
        with torch.inference_mode():
            teacher(torch.zeros(1, source.in_chans, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = first_line(error)
        raise InvalidInputError(
            f"teacher {text!r} cannot look at images of {image_size} pixels ({reason}); give another"
        ) from error
    return teacher


def _open(text: str) -> Any:
    """The network; one of our zoo is built by this version's code, so no file of its entry is run."""
    if text.startswith(LOCAL):
        config, name, arguments = load_model_config_from_path(text.removeprefix(LOCAL))
        if name.startswith(DOOR):
            return build_hybrid_backbone(name, True, pretrained_cfg=config, **arguments)
    if "/" in text and ":" not in text:
        raise FileNotFoundError("there is no such folder")  # timm would advise prefixes that do not help
    return timm.create_model(text, pretrained=True)


def distillation_loss(logits: Tensor, taught: Tensor, recipe: Recipe) -> Tensor:
    """How far the student is from its teacher, mean over the images.

    soft: Kullback-Leibler divergence of the softened probabilities, times the square of the temperature, which keeps
    gradients their size. Source: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network". hard:
    cross-entropy with the class that the teacher says. Source: Touvron et al., "Training data-efficient image
    transformers & distillation through attention".

    Args:
        logits, taught: (num, num_classes) of student and teacher.
    """
    if recipe.distillation == "hard":
        return cross_entropy(logits, taught.argmax(1))
    temperature = recipe.distillation_temperature
    student = log_softmax(logits / temperature, dim=1)
    teacher = log_softmax(taught / temperature, dim=1)
    return temperature**2 * kl_div(student, teacher, reduction="batchmean", log_target=True)


def _digest(network: nn.Module) -> str:
    """SHA-256 over names and values of parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
