"""Published checkpoints as entries of the model zoo."""

import hashlib
import pickle  # noqa: TID251 (for the name of the error that torch.load raises; nothing is unpickled)
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.data.imagenet_info import ImageNetInfo

from nas.errors import InvalidInputError, first_line
from search_spaces.architecture.costs import costs
from search_spaces.checkpoints import convert_convnext, convert_groupmixformer, require_match
from search_spaces.published.families import PRESETS, find_preset
from search_spaces.published.preset import Preset
from search_spaces.zoo.card import CardFacts, ImportedWeights
from search_spaces.zoo.export import check_export, export_model

Weights = dict[str, torch.Tensor]
Convert = Callable[[Mapping[str, Any]], Weights]
CONVERTERS: Mapping[str, Convert] = {
    "groupmixformer": convert_groupmixformer,
    "convnext": convert_convnext,
}
"""Beginning of a preset's name -> published names to ours."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def import_checkpoint(
    file: Path, preset: str, *, zoo: Path, name: str, onnx: bool, overwrite: bool, code_version: str, command: str
) -> Path:
    """Convert a checkpoint strictly and write it to the zoo as the model `name`.

    Args:
        file: what the authors published: a .pth with a state_dict, bare or under "model" or "state_dict", or
            safetensors. No code in it is run.
        command: that imports it again, for the card.

    Returns:
        The folder of the entry.

    Raises:
        InvalidInputError: if the preset has no published weights, the file cannot be read or is not of this preset, or
            the zoo refuses the name; the zoo is as before.
        NasError: if the zoo cannot be written.
    """
    preset = preset.removeprefix("hybrid_")  # so timm's registry names those that timm has too
    found = find_preset(preset)
    convert = _find_converter(preset, found)
    spec = found.architecture.to_spec()
    check_export(zoo=zoo, name=name, spec=spec, onnx=onnx, overwrite=overwrite)
    weights = convert(read_checkpoint(file))
    require_match(weights, found.architecture, preset)
    stored = safetensors.torch.save({key: value.detach().contiguous() for key, value in weights.items()})
    card = CardFacts(
        origin=ImportedWeights(
            preset=preset,
            source=found.source,
            costs=costs(found.architecture),
            file=file.name,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            code_version=code_version,
        ),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bicubic",
        crop_pct=0.875,
        **_imagenet_labels(found.architecture.num_classes),
        command=command,
        created=datetime.now(UTC),
    )
    return export_model(zoo=zoo, name=name, spec=spec, weights=stored, card=card, onnx=onnx, overwrite=overwrite)


def _find_converter(name: str, preset: Preset) -> Convert:
    """What renames the published weights of a preset.

    Raises:
        InvalidInputError: if there are none.
    """
    if preset.converter:
        convert: Convert = import_module(f"search_spaces.converters.{preset.converter}").convert
        return convert
    ours = next((converter for family, converter in CONVERTERS.items() if name.startswith(family)), None)
    if ours is None:
        known = [*CONVERTERS, *(other for other, found in PRESETS.items() if found.converter)]
        raise InvalidInputError(f"preset {name!r} has no published weights; expected one of {', '.join(known)}")
    return ours


def _imagenet_labels(num_classes: int) -> Mapping[str, Any]:
    """Names of the classes as timm has them: what was published for 1,000 classes was trained on ImageNet-1k."""
    if num_classes != 1000:
        return {"label_names": ()}
    descriptions = ImageNetInfo("imagenet-1k").label_descriptions(as_dict=True)
    return {"label_names": tuple(descriptions), "label_descriptions": descriptions}


def read_checkpoint(file: Path) -> Mapping[str, Any]:
    """The mapping in a .pth or safetensors file.

    Raises:
        InvalidInputError: if there is no such file, or it holds anything but tensors and plain values.
    """
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidInputError(
            f"{file} cannot be read ({error.strerror or error}); give the path of a published checkpoint"
        ) from error
    except pickle.UnpicklingError as error:
        raise InvalidInputError(
            f"{file} holds objects besides tensors and plain values, perhaps a training configuration, which could "
            "run code; save its "
            "state_dict alone again and give that"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = first_line(error)
        raise InvalidInputError(
            f"{file} is no checkpoint of tensors ({reason}); give a .pth with a state_dict, or safetensors"
        ) from error
    if not isinstance(content, Mapping):
        raise InvalidInputError(
            f"{file} holds a {type(content).__name__}; expected a state_dict, bare or under 'model' or 'state_dict'"
        )
    return content
