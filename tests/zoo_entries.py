"""Trained models to put into a zoo, without a training."""

import importlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from nas.records import (
    JSON,
    Costs,
    Finalist,
    FinalSplit,
    FinalTraining,
    FullTraining,
    Latency,
    RungScore,
    StudyRecord,
    TrialFacts,
)
from search_spaces.architecture.downsamples.registry import DOWNSAMPLES
from search_spaces.architecture.ffns.registry import FFNS
from search_spaces.architecture.heads.registry import HEADS
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.stems.registry import STEMS
from search_spaces.hybrid_layout import HybridLayout
from search_spaces.network.backbone import HybridBackbone
from search_spaces.zoo.card import CardFacts, FoundBySearch

CREATED = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
TARGET: JSON = {"kind": "cpu", "threads": 1, "batch": 1}


def architecture(seed: int = 0, in_chans: int = 1, num_classes: int = 10) -> Architecture:
    """A random point of hybrid_layout-nano for images of 32 pixels."""
    space = HybridLayout("nano", 32, in_chans, num_classes)
    return space.architecture(space.sample(np.random.default_rng(seed)))


def trained(architecture: Architecture) -> HybridBackbone:
    """In inference mode, with statistics in its BatchNorms and noise on every parameter, as if it had been trained."""
    torch.manual_seed(0)
    model = HybridBackbone(architecture.to_spec()).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        for _ in range(3):
            model(torch.rand(8, architecture.in_chans, architecture.image_size, architecture.image_size))
    return model.eval()


def weights_of(model: HybridBackbone) -> bytes:
    return safetensors.torch.save(dict(model.state_dict()))


def load_entry(folder: Path) -> nn.Module:
    """The network of an entry by its own code, in inference mode."""
    config = json.loads((folder / "config.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder.resolve())
        importlib.import_module(config["architecture"])
    model: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval()


def load_module(folder: Path, name: str, source: str) -> ModuleType:
    """A module by its text, which is written to the folder."""
    (folder / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return importlib.import_module(name)


def every_part() -> tuple[str, ...]:
    """All parts of networks, as FOLDER.NAME."""
    folders = {"mixers": KINDS, "ffns": FFNS, "stems": STEMS, "downsamples": DOWNSAMPLES, "heads": HEADS}
    parts: list[str] = []
    for folder, kinds in folders.items():
        parts += [f"{folder}.{name}" for name in kinds]
    return tuple(sorted(parts))


def full_training(split: FinalSplit = "test") -> FullTraining:
    """Three full trainings, of which that of seed 9 was best on validation."""
    finalist = Finalist(12, "f" * 64, "a" * 64, (8, 9, 10), 0.95, 0.01, 0.9252, 0.9748, 0.912, 0.9, 0.93, True, 0.875)
    rungs = (RungScore(rung=0, steps=1280, top1=0.9375, loss=0.5, duration_s=33.0),)
    recipe: JSON = {"rungs": [1280], "learning_rate": 0.004}
    test = 0.96 if split == "test" else None
    training = FinalTraining(12, recipe, "a" * 64, 9, "final", "COMPLETE", rungs=rungs, test_top1=test, device="cpu")
    return FullTraining(finalist, split, training, (0.94, 0.96, 0.95))


def card_of(architecture: Architecture, full: FullTraining | None = None) -> CardFacts:
    study = StudyRecord(
        name="hybrid_layout-nano-digits",
        uid="0" * 32,
        space="hybrid_layout",
        space_module="",
        scale="nano",
        mixers="",
        space_hash="1" * 64,
        objectives=("top1", "latency_ms"),
        reference_point=(0.1, 4.0),
        data="folder:/home/someone/digits",
        data_location="folder:/home/someone/digits",
        data_fingerprint="2" * 64,
        recipe={"rungs": [160], "batch_size": 64},
        target=TARGET,
        limits={},
        seed=7,
        device="cpu",
        artifacts="runs/artifacts",
        config={"storage": "postgresql+psycopg://nas:***@localhost/nas"},
        code_version="0.1.0",
        created=CREATED,
    )
    trial = TrialFacts(
        trial_number=12,
        arch_hash=architecture.arch_hash,
        spec=architecture.to_spec(),
        layout=architecture.layout(),
        costs=Costs(param_count=34_567, macs=1_234_567),
        seed=7,
        state="COMPLETE",
        latency=Latency(
            target=TARGET, conditions={}, median_ms=0.912, ci_low_ms=0.9, ci_high_ms=0.93, p95_ms=1.1, samples=60
        ),
        rungs=(RungScore(rung=0, steps=160, top1=0.8125, loss=0.9, duration_s=4.2),),
        device="cpu",
    )
    return CardFacts(
        origin=FoundBySearch(study, trial, full, num_test=1024 if full else 0),
        mean=(0.2,) * architecture.in_chans,
        std=(0.3,) * architecture.in_chans,
        interpolation="bilinear",
        crop_pct=1.0,
        label_names=tuple("0123456789"),
        command="python launch.py retrain --storage postgresql+psycopg://nas:secret@localhost/nas --pick trial:12",
        created=CREATED,
    )
