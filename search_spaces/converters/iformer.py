"""Weights of Inception Transformer by the authors' names."""

from collections.abc import Sequence

MIXER_NAMES: Sequence[tuple[str, str]] = (
    (r"high_mixer\.conv1\.", "high.expand."),
    (r"high_mixer\.proj1\.", "high.conv."),
    (r"high_mixer\.proj2\.", "high.proj."),
    (r"low_mixer\.qkv\.", "low.qkv."),
    (r"conv_fuse\.", "fuse."),
    (r"proj\.", "proj."),
)
"""Beginning of a name in the authors' mixer -> in ours."""
