"""The model card of a zoo entry: what the network is, how its numbers were measured, and how to get it again."""

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from nas.records import SearchRecord, TrialFacts
from nas.units import cost_text, duration_text
from search_spaces.architecture import STEM_STRIDE, Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What an entry says beyond its spec and weights."""

    search: SearchRecord
    """The study that found the architecture."""
    trial: TrialFacts
    """COMPLETE; its training gave the weights."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One per input channel: the network was trained on (image - mean) / std of images in [0, 1]."""
    interpolation: str
    """With which images are resized: timm's word."""
    crop_pct: float
    """Share of the resized image that the centre crop keeps."""
    label_names: tuple[str, ...]
    """In the order of the logits; empty if the classes have no names."""
    command: str
    """That trains this architecture again, without a password."""
    created: datetime
    """UTC."""


FRONT_MATTER = "---\nlibrary_name: timm\npipeline_tag: image-classification\ntags:\n- timm\n- neural-architecture-search\n---"
_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):\S*@")


def without_passwords(text: str) -> str:
    """The text with the password of every URL in it replaced by ***."""
    return _PASSWORD.sub(r"\1:***@", text)


def card_text(name: str, architecture: Architecture, card: CardFacts, files: list[str]) -> str:
    """README.md of an entry, with the front matter that model hubs read.

    Args:
        name: of the entry.
        architecture: of the trial.
        card: the rest.
        files: of the entry, without README.md.
    """
    search, trial = card.search, card.trial
    sections = [
        FRONT_MATTER,
        f"# {name}\n\nAn image classifier found by architecture search: trial {trial.trial_number} of the study `{search.study}` "
        f"in the space `{search.space}`.",
        f"## Layout\n\n`{architecture.layout()}`\n\n![Drawing of the layout](layout.svg)\n\nArchitecture hash: `{architecture.arch_hash}`",
        f"## Measured\n\n{_metrics(architecture, card)}",
        f"## Use\n\n{_use(name, architecture)}",
        f"## Input\n\n{_input(architecture, card)}",
        f"## Origin\n\n{_origin(card)}",
        f"## Again\n\n```\n{card.command}\n```",
        f"## Files\n\n{_file_list(files)}",
    ]
    return without_passwords("\n\n".join(sections) + "\n")


def _metrics(architecture: Architecture, card: CardFacts) -> str:
    search, trial = card.search, card.trial
    last = trial.rungs[-1]
    training = f"after {last.steps:,} optimizer steps, {duration_text(last.duration_s)} on {trial.device}"
    how = f"validation split of `{_data_name(search.data)}` {training}; this split also guided the search: expect less on new images"
    rows = [
        ("top1", f"{last.top1:.4f}", how),
        ("parameters", cost_text("param_count", trial.costs.param_count), "counted, classifier included"),
        ("multiply-adds", cost_text("macs", trial.costs.macs), f"of one image of {_size(architecture)}, counted as fvcore does"),
    ]
    if trial.latency is not None:
        timing = trial.latency
        interval = f"{cost_text('latency_ms', timing.ci_low_ms)} to {cost_text('latency_ms', timing.ci_high_ms)}"
        settings = ", ".join(f"{key} {value}" for key, value in timing.target.items())
        how = f"median of {timing.samples} timings, 95 % interval {interval}, alone on the device; {settings}"
        rows.append(("latency", cost_text("latency_ms", timing.median_ms), how))
    lines = ["| metric | value | how it was measured |", "|---|---|---|"]
    return "\n".join(lines + [f"| {metric} | {value} | {how} |" for metric, value, how in rows])


def _use(name: str, architecture: Architecture) -> str:
    return f"""The module in this folder registers the architecture with timm; nothing but torch and timm is needed.

```python
import sys
import timm

sys.path.insert(0, "zoo/{name}")
import hybrid_backbone

model = timm.create_model("local-dir:zoo/{name}", pretrained=True).eval()
```

These weights come from a short training that was made to compare architectures. To train one for a task of your own:

```python
model = timm.create_model("local-dir:zoo/{name}", pretrained=False, num_classes=1000, in_chans=3)
features = timm.create_model("local-dir:zoo/{name}", pretrained=False, features_only=True)
```

Images may have any sides that are multiples of {total_stride(architecture)}, 224 pixels for example;
`features_only` gives {len(architecture.stages)} feature maps."""


def _input(architecture: Architecture, card: CardFacts) -> str:
    labels = f"\n- classes: {', '.join(card.label_names)}" if card.label_names else f"\n- {architecture.num_classes} classes"
    return (
        f"- {_size(architecture)}, {architecture.in_chans} channel(s), resized with {card.interpolation} interpolation"
        f"\n- mean {list(card.mean)}, standard deviation {list(card.std)} of values in [0, 1]{labels}"
    )


def _origin(card: CardFacts) -> str:
    search, trial = card.search, card.trial
    return "\n".join(
        [
            f"- data: `{_data_name(search.data)}`, fingerprint `{search.data_fingerprint}`",
            f"- seed: {trial.seed} (initialisation and data order)",
            f"- recipe: `{json.dumps(search.recipe)}`",
            f"- objectives of the study: {', '.join(search.objectives)}",
            f"- code: {search.code_version}",
            f"- exported: {card.created:%Y-%m-%d %H:%M} UTC",
        ]
    )


def _data_name(data: str) -> str:
    """Kind and last folder of a data argument; where it lies on the machine that trained is nobody's business."""
    kind, colon, path = data.partition(":")
    return f"{kind}{colon}{PurePath(path).name}"


def _file_list(files: list[str]) -> str:
    meaning = {
        "config.json": "timm's description of network and input",
        "model.safetensors": "weights",
        "hybrid_backbone.py": "the architecture, the same file in every entry of this version",
        "layout.svg": "drawing",
        "model.onnx": "the same network for ONNX runtimes, compared with torch when it was written",
    }
    return "\n".join(f"- `{file}`: {meaning[file]}" for file in files)


def total_stride(architecture: Architecture) -> int:
    """Side of an input divided by that of the last feature map."""
    return STEM_STRIDE * math.prod(stage.stride for stage in architecture.stages)


def _size(architecture: Architecture) -> str:
    return f"{architecture.image_size} x {architecture.image_size} pixels"
