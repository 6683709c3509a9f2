"""The model zoo: a folder per model that timm loads without this project, and an index of them.

    ZOO/index.json
    ZOO/NAME/{config.json, model.safetensors, hybrid_backbone.py, hybrid_backbone_CONTENTS.py, layout.svg, README.md[,
        model.onnx]}

Nothing in an entry is a pickle. An entry appears whole or not at all: it is written beside the others under a hidden
name, then renamed.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from nas.errors import InvalidInputError, NasError, first_line
from nas.files import check_folder
from nas.records import JSON
from search_spaces.architecture.drawing import draw
from search_spaces.architecture.spec import Architecture, total_stride
from search_spaces.architecture.used import onnx_problem, used_mixers
from search_spaces.network.backbone import HybridBackbone
from search_spaces.network.entrypoint import ADAPTED_LAYERS
from search_spaces.zoo.bundle import DOOR, bundle_source, door_source, module_name
from search_spaces.zoo.card import CardFacts, FoundBySearch, card_text
from search_spaces.zoo.index import INDEX, read_index, require_name
from search_spaces.zoo.onnx import export_onnx, require_onnx

WEIGHTS_SHA256 = "weights_sha256"
"""Field of config.json that proves the weights of an entry that has left its zoo; timm does not read it."""


def export_model(
    *, zoo: Path, name: str, spec: JSON, weights: bytes, card: CardFacts, onnx: bool = False, overwrite: bool = False
) -> Path:
    """Add a trained model to a zoo.

    Args:
        zoo: folder of the zoo; made if it does not exist.
        name: of the entry: letters, digits, - and _.
        spec: what Architecture.to_spec() gave.
        weights: the model's state_dict as safetensors.
        card: where the model comes from and how it was measured.
        onnx: add model.onnx.
        overwrite: replace an entry of that name.

    Returns:
        The folder of the entry.

    Raises:
        InvalidInputError: if the name cannot be used or is taken, the weights are not those of the spec, ONNX packages
            are missing, or onnxruntime cannot run one of the mixers.
        NasError: if the zoo cannot be written, or the ONNX file does not compute what the model does. The zoo is as
            before.
    """
    check_export(zoo=zoo, name=name, spec=spec, onnx=onnx, overwrite=overwrite)
    architecture = Architecture.from_spec(spec)
    model = _load(architecture, weights)

    def make(folder: Path) -> JSON:
        _write_entry(folder, architecture, model, weights, card, onnx)
        return _index_entry(folder, architecture, card)

    return add_entry(zoo, name, architecture.arch_hash, make, overwrite=overwrite)


def add_entry(zoo: Path, name: str, arch_hash: str, make: Callable[[Path], JSON], *, overwrite: bool) -> Path:
    """Add an entry to a zoo, whole or not at all.

    Args:
        zoo: folder of the zoo; made if it does not exist.
        name: of the entry; one that require_name lets through.
        arch_hash: identity of its architecture.
        make: writes its files into a new folder, and gives its line of the index. What it raises leaves the zoo as it
            was.
        overwrite: replace an entry of that name.

    Returns:
        The folder of the entry.

    Raises:
        InvalidInputError: if the name is taken.
        NasError: if the zoo cannot be written.
    """
    _make_folder(zoo)
    try:
        with _locked(zoo), _scratch_folder(zoo) as scratch:
            entries = read_index(zoo)
            _require_free(zoo, name, arch_hash, entries, overwrite)  # again: another export may have come first
            made = scratch / name
            entry = make(made)
            others = [each for each in entries if each["name"] != name]
            _put_in_place(zoo, made, _index_text([*others, entry]))
    except OSError as error:
        raise NasError(f"zoo {zoo} cannot be written: {error.strerror}; make room or give another --zoo") from error
    return zoo / name


def check_export(*, zoo: Path, name: str, spec: JSON, onnx: bool = False, overwrite: bool = False) -> None:
    """Refuse what export_model would refuse, where the weights are still to be made. The zoo stays as it is.

    Raises:
        InvalidInputError: as export_model, except for the weights.
    """
    require_name(name)
    architecture = Architecture.from_spec(spec)
    if onnx:
        require_onnx()
        _require_runnable(spec)
    check_folder(zoo, "--zoo")
    if zoo.is_dir():
        _require_free(zoo, name, architecture.arch_hash, read_index(zoo), overwrite)


def _require_runnable(spec: JSON) -> None:
    problem = onnx_problem(used_mixers(spec))
    if problem:
        raise InvalidInputError(f"onnxruntime cannot run {problem}, which this network has; export without --onnx")


def _make_folder(zoo: Path) -> None:
    try:
        zoo.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"zoo {zoo} cannot be made: {error.strerror}; give another --zoo") from error


def _load(architecture: Architecture, weights: bytes) -> HybridBackbone:
    model = HybridBackbone(architecture.to_spec())
    try:
        model.load_state_dict(safetensors.torch.load(weights), strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = first_line(error)
        raise InvalidInputError(
            f"the weights are not those of architecture {architecture.arch_hash[:12]} ({reason}); train it again"
        ) from error
    return model.eval()


@contextmanager
def _locked(zoo: Path) -> Iterator[None]:
    """One export at a time; the lock is on the folder itself and ends with the process."""
    folder = os.open(zoo, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _scratch_folder(zoo: Path) -> Iterator[Path]:
    """A folder to write in, in the zoo's file system; removed afterwards, and what a killed export left as well."""
    for left in zoo.glob(".export-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=zoo) as scratch:
        yield Path(scratch)


def _require_free(zoo: Path, name: str, arch_hash: str, entries: list[JSON], overwrite: bool) -> None:
    present = {entry["name"]: entry["arch_hash"] for entry in entries}
    if name in present:
        if not overwrite:
            which = "this architecture" if present[name] == arch_hash else f"another architecture, {present[name][:12]}"
            raise InvalidInputError(
                f"zoo {zoo} has a model {name!r} already, of {which}; give another --name, or --overwrite to replace it"
            )
    elif (zoo / name).exists():
        raise InvalidInputError(f"{zoo / name} exists and is no entry of the zoo; give another --name, or move it away")


def _write_entry(
    folder: Path, architecture: Architecture, model: nn.Module, weights: bytes, card: CardFacts, onnx: bool
) -> None:
    folder.mkdir()
    config = _config(architecture, card) | {WEIGHTS_SHA256: hashlib.sha256(weights).hexdigest()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    spec = architecture.to_spec()
    (folder / f"{DOOR}.py").write_text(door_source(spec), encoding="utf-8")
    (folder / f"{module_name(spec)}.py").write_text(bundle_source(spec), encoding="utf-8")
    (folder / "layout.svg").write_text(draw(architecture), encoding="utf-8")
    if onnx:
        export_onnx(model, _input_size(architecture), folder / "model.onnx")
    files = sorted(path.name for path in folder.iterdir())
    (folder / "README.md").write_text(card_text(folder.name, architecture, card, files), encoding="utf-8")


def _config(architecture: Architecture, card: CardFacts) -> JSON:
    """config.json as timm reads it (timm/models/_hub.py): pretrained_cfg takes the fields of timm's PretrainedCfg
    only."""
    stride = total_stride(architecture)
    labels: JSON = {"label_names": list(card.label_names)} if card.label_names else {}
    if card.label_descriptions:
        labels["label_descriptions"] = dict(card.label_descriptions)
    return {
        "architecture": module_name(architecture.to_spec()),
        "num_classes": architecture.num_classes,
        "num_features": architecture.stages[-1].width,
        "global_pool": "avg",
        **labels,
        "model_args": {"spec": architecture.to_spec()},
        "pretrained_cfg": {
            "tag": card.origin.study.name if isinstance(card.origin, FoundBySearch) else "published",
            "input_size": _input_size(architecture),
            "min_input_size": (architecture.in_chans, stride, stride),
            "fixed_input_size": False,
            "interpolation": card.interpolation,
            "crop_pct": card.crop_pct,
            "crop_mode": card.crop_mode,
            "mean": card.mean,
            "std": card.std,
            "num_classes": architecture.num_classes,
            **ADAPTED_LAYERS,
            "description": architecture.layout(),
        },
    }


def _input_size(architecture: Architecture) -> tuple[int, int, int]:
    return architecture.in_chans, architecture.image_size, architecture.image_size


def _index_entry(folder: Path, architecture: Architecture, card: CardFacts) -> JSON:
    origin = card.origin
    entry: JSON = {"name": folder.name, "arch_hash": architecture.arch_hash, "layout": architecture.layout()}
    if isinstance(origin, FoundBySearch):
        trial = origin.trial
        objective = origin.study.cost_objective
        costs = origin.trial.costs
        entry |= {
            "top1": trial.top1,
            "cost": {objective: trial.cost(objective)},
            "data": origin.study.data.partition(":")[0],
            "study": origin.study.name,
            "trial": trial.trial_number,
        }
        if origin.full is not None:
            finalist = origin.full.finalist
            entry |= {
                "top1": finalist.top1,
                "top1_interval": [finalist.top1_low, finalist.top1_high],
                "top1_split": origin.full.split,
                "seeds": list(finalist.seeds),
                "front_probability": finalist.front_probability,
            }
    else:
        costs = origin.costs
        entry |= {"preset": origin.preset, "checkpoint_sha256": origin.sha256}
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    created = card.created.isoformat(timespec="seconds")
    return entry | {"param_count": costs.param_count, "macs": costs.macs, "created": created, "sha256": files}


def _index_text(entries: list[JSON]) -> str:
    return (
        json.dumps({"models": sorted(entries, key=lambda entry: str(entry["name"]))}, indent=2, allow_nan=False) + "\n"
    )


def _put_in_place(zoo: Path, made: Path, index: str) -> None:
    """Three renames in one file system, which need no space: away with the old entry, in with the new, in with the
    index."""
    new_index = made.with_name(INDEX)
    old = made.with_name(f"{made.name}.replaced")
    final = zoo / made.name
    new_index.write_text(index, encoding="utf-8")
    if final.exists():
        final.rename(old)
    try:
        made.rename(final)
        new_index.replace(zoo / INDEX)
    except OSError:
        shutil.rmtree(final, ignore_errors=True)
        if old.exists():
            old.rename(final)
        raise
