"""Registers every preset with timm: `timm.create_model("groupmixformer_tiny")` after `import search_spaces.presets`.

A preset whose name timm has already (ConvNeXt's) is registered with `hybrid_` before it. timm's registry takes
functions that are called like their models; they are made from the table of families.py.
"""

from collections.abc import Callable
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import generate_default_cfgs, is_model, register_model

from search_spaces.architecture.spec import total_stride
from search_spaces.network.backbone import HybridBackbone
from search_spaces.network.entrypoint import ADAPTED_LAYERS, build_hybrid_backbone
from search_spaces.published.families import PRESETS
from search_spaces.published.preset import Preset

MODEL_NAMES = {name: f"hybrid_{name}" if is_model(name) else name for name in PRESETS}
"""Preset -> the name of its model in timm's registry."""


def _pretrained_cfg(preset: Preset) -> dict[str, Any]:
    """timm's description of input and weights; there are no weights to download."""
    architecture = preset.architecture
    stride = total_stride(architecture)
    return {
        "input_size": (architecture.in_chans, architecture.image_size, architecture.image_size),
        "min_input_size": (architecture.in_chans, stride, stride),
        "fixed_input_size": False,
        "pool_size": (architecture.map_sizes()[-1],) * 2,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "num_classes": architecture.num_classes,
        "description": preset.source,
        **ADAPTED_LAYERS,
    }


default_cfgs = generate_default_cfgs({MODEL_NAMES[name]: _pretrained_cfg(preset) for name, preset in PRESETS.items()})


def _entrypoint(model_name: str, preset: Preset) -> Callable[..., HybridBackbone]:
    def create(pretrained: bool = False, **kwargs: Any) -> HybridBackbone:
        arguments = {"spec": preset.architecture.to_spec(), **kwargs}
        return build_hybrid_backbone(model_name, pretrained, **arguments)

    create.__name__ = create.__qualname__ = model_name
    create.__doc__ = f"{preset.source}."
    return create


for _name, _preset in PRESETS.items():
    globals()[MODEL_NAMES[_name]] = register_model(_entrypoint(MODEL_NAMES[_name], _preset))
