"""`hybrid_backbone` in timm's registry: the root of the module that every zoo entry carries."""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from search_spaces.network.backbone import HybridBackbone

ADAPTED_LAYERS = {"first_conv": "stem.0", "classifier": "head.fc"}
"""What timm changes or drops when pretrained weights meet another number of channels or classes."""

default_cfgs = generate_default_cfgs({"hybrid_backbone": ADAPTED_LAYERS})


@register_model
def hybrid_backbone(pretrained: bool = False, **kwargs: Any) -> HybridBackbone:
    """The network of the spec in `kwargs`; timm passes the one in an entry's config.json.

    Args:
        pretrained: load the weights that the pretrained_cfg names.
        kwargs: `spec`, and what HybridBackbone, features_only and timm's builder take.

    Raises:
        ValueError: if there is no spec.
    """
    if "spec" not in kwargs:
        raise ValueError(
            "hybrid_backbone was asked for without a spec and has no default network; "
            "name the folder of a zoo entry instead: timm.create_model('local-dir:FOLDER')"
        )
    return build_hybrid_backbone("hybrid_backbone", pretrained, **kwargs)


def build_hybrid_backbone(name: str, pretrained: bool, **kwargs: Any) -> HybridBackbone:
    """The network of `kwargs["spec"]` under a name of timm's registry, with what timm's builder does around it."""
    # Feature maps come from forward_intermediates, which leaves out what lies behind the last stage asked for.
    feature_cfg = {"out_indices": tuple(range(len(kwargs["spec"]["stages"]))), "feature_cls": "getter"}
    model: HybridBackbone = build_model_with_cfg(HybridBackbone, name, pretrained, feature_cfg=feature_cfg, **kwargs)
    return model
