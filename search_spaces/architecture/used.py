"""What a network is made of, by its spec. Imports no torch."""

from collections.abc import Iterable

from nas.records import JSON
from search_spaces.architecture.kinds.registry import KINDS

MIXERS = "mixers"


def used_parts(spec: JSON) -> tuple[str, ...]:
    """The parts that the network of a spec asks network/parts.py for, as FOLDER.NAME, sorted."""
    parts = {f"stems.{spec['stem']['kind']}", f"heads.{spec['head_norm']}"}
    for stage in spec["stages"]:
        parts.add(f"downsamples.{stage['downsample']}")
        for block in stage["blocks"]:
            parts |= {f"{MIXERS}.{block[role]}" for role in ("conv", "attention") if block[role]}
            if block["ffn"] != "none":
                parts.add(f"ffns.{block['ffn']}")
    return tuple(sorted(parts))


def used_mixers(spec: JSON) -> tuple[str, ...]:
    """The names of its mixers, sorted."""
    places = (part.partition(".") for part in used_parts(spec))
    return tuple(name for folder, _, name in places if folder == MIXERS)


def onnx_problem(mixers: Iterable[str]) -> str:
    """Which of these onnxruntime cannot run, each with its reason; "" where it runs all."""
    return ", ".join(f"{name} ({KINDS[name].onnx})" for name in mixers if name in KINDS and KINDS[name].onnx)
