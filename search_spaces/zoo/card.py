"""The model card of a zoo entry: what the network is, how its numbers were measured, and how to get it again."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath

import timm
import torch

from nas.records import Costs, FullTraining, RungScore, StudyRecord, TrialFacts
from nas.text import cost_text, duration_text, memory_text
from search_spaces.architecture.spec import Architecture, total_stride
from search_spaces.zoo.bundle import DOOR, NEEDS, module_name


@dataclass(frozen=True, slots=True)
class FoundBySearch:
    """A trial whose training gave the weights."""

    study: StudyRecord
    """The study that found the architecture."""
    trial: TrialFacts
    """COMPLETE."""
    full: FullTraining | None = None
    """Where the weights are those of a finalist."""
    num_test: int = 0
    """Test images of the data when the study was created; 0 if there were none or they were not counted."""


@dataclass(frozen=True, slots=True)
class ImportedWeights:
    """A published checkpoint."""

    preset: str
    source: str
    """Paper and code that the preset comes from."""
    costs: Costs
    file: str
    """Name of the checkpoint, without its folder."""
    sha256: str
    """Hash of the checkpoint, 64 hex digits."""
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What an entry says beyond its spec and weights."""

    origin: FoundBySearch | ImportedWeights
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """One per input channel: the network was trained on (image - mean) / std of images in [0, 1]."""
    interpolation: str
    """With which images are resized. This and the two that follow are timm's words."""
    crop_pct: float
    """Share of the resized image's side that the crop keeps."""
    crop_mode: str = "center"
    label_names: tuple[str, ...]
    """In the order of the logits; empty if the classes have no names."""
    label_descriptions: Mapping[str, str] = field(default_factory=dict)
    """Name of a class -> what it is, where names alone do not say it."""
    command: str
    """That trains this architecture again, where its database is known. Names neither a password nor a place."""
    created: datetime
    """UTC."""


FRONT_MATTER = (
    "---\nlibrary_name: timm\npipeline_tag: image-classification\ntags:\n- timm\n- neural-architecture-search\n---"
)
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
    sections = [
        FRONT_MATTER,
        f"# {name}\n\n{_summary(card.origin)}",
        (
            f"## Layout\n\n`{architecture.layout()}`\n\n![Drawing of the layout](layout.svg)\n\nArchitecture hash: "
            f"`{architecture.arch_hash}`"
        ),
        f"## Measured\n\n{_metrics(architecture, card.origin)}",
        f"## Use\n\n{_use(name, architecture, _weights(card.origin))}",
        f"## Input\n\n{_input(architecture, card)}",
        f"## Origin\n\n{_origin(card)}",
        f"## Again\n\n```\n{card.command}\n```",
        f"## Files\n\n{_file_list(files, module_name(architecture.to_spec()))}",
    ]
    return without_passwords("\n\n".join(sections) + "\n")


def _weights(origin: FoundBySearch | ImportedWeights) -> str:
    """Where the weights come from, as the end of a sentence."""
    if isinstance(origin, ImportedWeights):
        return "are the published ones"
    if origin.full is None:
        return "come from a short training that was made to compare architectures"
    return (
        f"come from the best of {len(origin.full.scores)} full trainings by validation top1, that of seed "
        f"{origin.full.training.seed}"
    )


def _summary(origin: FoundBySearch | ImportedWeights) -> str:
    if isinstance(origin, ImportedWeights):
        return f"The preset `{origin.preset}` with published weights: {origin.source}."
    return (
        f"An image classifier found by architecture search: trial {origin.trial.trial_number} of the study "
        f"`{origin.study.name}` "
        f"in the space `{origin.study.space}`."
    )


def _metrics(architecture: Architecture, origin: FoundBySearch | ImportedWeights) -> str:
    costs = origin.trial.costs if isinstance(origin, FoundBySearch) else origin.costs
    rows = [
        ("parameters", cost_text("param_count", costs.param_count), "counted, classifier included"),
        (
            "multiply-adds",
            cost_text("macs", costs.macs),
            f"of one image of {_size(architecture)}, counted as fvcore does",
        ),
    ]
    if isinstance(origin, FoundBySearch):
        top1 = [_top1_row(origin)] if origin.full is None else _full_rows(origin, origin.full)
        rows = [*top1, *rows, *_latency_rows(origin.trial)]
    lines = ["| metric | value | how it was measured |", "|---|---|---|"]
    return "\n".join(lines + [f"| {metric} | {value} | {how} |" for metric, value, how in rows])


def _top1_row(origin: FoundBySearch) -> tuple[str, str, str]:
    last = origin.trial.rungs[-1]
    data = _data_name(origin.study.data)
    training = _training_text(last, origin.trial.device)
    how = f"validation split of `{data}` after {training}; this split also guided the search: expect less on new images"
    return "top1", f"{last.top1:.4f}", how


def _training_text(last: RungScore, device: str) -> str:
    return (
        f"{last.steps:,} optimizer steps, {duration_text(last.duration_s)} on {device}{memory_text(last.micro_batches)}"
    )


def _full_rows(origin: FoundBySearch, full: FullTraining) -> list[tuple[str, str, str]]:
    """Mean and interval over the seeds, what the weights here reach, and how sure the place on the front is."""
    finalist = full.finalist
    training = full.training
    last = full.training.rungs[-1]
    data = _data_name(origin.study.data)
    images = "the validation split, which also guided all choices,"
    if full.split == "test":
        images = f"the {origin.num_test:,} test images" if origin.num_test else "the test images"
    mean = (
        f"mean of {len(full.scores)} full trainings with different seeds on {images} of `{data}`; interval of the "
        "mean: 95 %, Student's t; "
        f"the trainings reached {min(full.scores):.4f} to {max(full.scores):.4f}, standard deviation "
        f"{finalist.top1_std:.4f}"
    )
    trained = f"seed {training.seed}, {_training_text(last, training.device)}"
    test = "" if training.test_top1 is None else f"; {training.test_top1:.4f} on the test images"
    return [
        (f"top1 on {full.split}", f"{finalist.top1:.4f} ({finalist.top1_low:.4f} to {finalist.top1_high:.4f})", mean),
        ("top1 of these weights on validation", f"{last.top1:.4f}", f"{trained}{test}"),
        (
            "probability of being on the front",
            f"{finalist.front_probability:.2f}",
            "share of draws from the intervals of top1 and cost in which no other finalist is better",
        ),
    ]


def _latency_rows(trial: TrialFacts) -> list[tuple[str, str, str]]:
    timing = trial.latency
    if timing is None:
        return []
    interval = f"{cost_text('latency_ms', timing.ci_low_ms)} to {cost_text('latency_ms', timing.ci_high_ms)}"
    settings = ", ".join(f"{key} {value}" for key, value in timing.target.items())
    how = f"median of {timing.samples} timings, 95 % interval {interval}, alone on the device; {settings}"
    return [("latency", cost_text("latency_ms", timing.median_ms), how)]


def _use(name: str, architecture: Architecture, weights: str) -> str:
    return f"""The module in this folder registers the architecture with timm. It needs {NEEDS}, or newer versions;
this entry was written with timm {timm.__version__} and torch {torch.__version__}.

```python
import sys
import timm

folder = "{name}"  # the folder of this card, wherever it lies
sys.path.insert(0, folder)
import {module_name(architecture.to_spec())}

model = timm.create_model(f"local-dir:{{folder}}", pretrained=True).eval()
```

These weights {weights}. To train one for a task of your own:

```python
model = timm.create_model(f"local-dir:{{folder}}", pretrained=False, num_classes=1000, in_chans=3)
features = timm.create_model(f"local-dir:{{folder}}", pretrained=False, features_only=True)
```

Images may have any sides that are multiples of {total_stride(architecture)}, 224 pixels for example;
`features_only` gives {len(set(architecture.map_sizes()))} feature maps."""


def _input(architecture: Architecture, card: CardFacts) -> str:
    resized = math.floor(architecture.image_size / card.crop_pct)  # as timm computes it
    lines = [
        f"- {_size(architecture)}, {architecture.in_chans} channel(s) of 8 bits, EXIF orientation not applied",
        f"- shorter side resized to {resized} pixels, {card.interpolation}; then the {card.crop_mode} is cut out "
        f"(crop_pct {card.crop_pct})",
        f"- mean {list(card.mean)}, standard deviation {list(card.std)} of values in [0, 1]",
        "- all that stands in config.json: `timm.data.create_transform(**timm.data.resolve_model_data_config(model))`",
        f"- {architecture.num_classes} classes{_classes(card)}",
    ]
    return "\n".join(lines)


def _classes(card: CardFacts) -> str:
    """Names in the order of the logits, as JSON: a name may hold what Markdown would take for its own."""
    if not card.label_names:
        return " without names"
    names = [[name, card.label_descriptions[name]] if card.label_descriptions else name for name in card.label_names]
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}" for name in names)
    return f", in the order of the logits:\n\n```json\n[\n{lines}\n]\n```"


def _origin(card: CardFacts) -> str:
    origin = card.origin
    exported = f"- exported: {card.created:%Y-%m-%d %H:%M} UTC"
    if isinstance(origin, ImportedWeights):
        return (
            f"- file: `{origin.file}`, SHA-256 `{origin.sha256}`\n- accuracy: not measured here\n- code: "
            f"{origin.code_version}\n{exported}"
        )
    study = origin.study
    training = origin.full.training if origin.full else None
    seed, recipe = (origin.trial.seed, study.recipe) if training is None else (training.seed, training.recipe)
    return "\n".join(
        [
            f"- data: `{_data_name(study.data)}`, fingerprint `{study.data_fingerprint}`",
            f"- seed: {seed} (initialisation and data order)",
            f"- recipe: `{json.dumps(recipe)}`",
            f"- objectives of the study: {', '.join(study.objectives)}",
            f"- code: {study.code_version}",
            exported,
        ]
    )


def _data_name(data: str) -> str:
    """Kind and last folder of a data argument; where it lies on the machine that trained is nobody's business."""
    kind, colon, path = data.partition(":")
    return f"{kind}{colon}{PurePath(path).name}"


def _file_list(files: list[str], module: str) -> str:
    meaning = {
        "config.json": "timm's description of network and input",
        "model.safetensors": "weights",
        f"{DOOR}.py": "imports the architecture, by the same name in every entry",
        f"{module}.py": "the architecture, with the parts that this network uses",
        "layout.svg": "drawing",
        "model.onnx": "the same network for ONNX runtimes, compared with torch when it was written",
    }
    return "\n".join(f"- `{file}`: {meaning[file]}" for file in files)


def _size(architecture: Architecture) -> str:
    return f"{architecture.image_size} x {architecture.image_size} pixels"
