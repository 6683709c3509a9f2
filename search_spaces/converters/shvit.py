"""Weights of SHViT by timm's names."""

from collections.abc import Sequence

MIXER_NAMES: Sequence[tuple[str, str]] = (
    (r"pre_norm\.", "norm."),
    (r"qkv\.c\.", "qkv.conv."),
    (r"qkv\.bn\.", "qkv.norm."),
    (r"proj\.1\.c\.", "proj.conv."),
    (r"proj\.1\.bn\.", "proj.norm."),
)
"""Beginning of a name in timm's SHSA -> in ours."""
