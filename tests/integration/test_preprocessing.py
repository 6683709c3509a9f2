"""What a search measured is what an entry of the zoo does: for every kind of data, timm alone gives the recorded top1.

Networks are trained for real, on few and easy images; those of folders are not square and larger than the input.
"""

import contextlib
import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.store import open_store
from nas.pareto.front import FrontKeeper
from nas.protocols import Finished, Job, RungReached
from nas.records import KeptWeights, StudyRecord
from nas.workspace import Workspace
from search_spaces.architecture.spec import Architecture
from search_spaces.registry import make_space
from tests.samples import study_record
from tests.samples import trial as sample_trial
from tests.timm_alone import top1_through_timm
from workers.data.beton.pack import pack_images
from workers.data.cifar import ARCHIVES, HOLD_OUT
from workers.data.digits import NUM_CANVASES, make_canvases
from workers.data.registry import open_data
from workers.data.source import hold_out
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.export import ExportConfig, export
from workers.recipe import Recipe

RECIPE = Recipe(rungs=(160,), batch_size=16, learning_rate=5e-3)
PERIODS = {"wide": 8.0, "fine": 5.0, "middle": 6.3}
"""Class -> distance of the stripes, pixels: another crop makes one class look like another."""
Pictures = list[tuple[Image.Image, int]]


def stripes(rng: np.random.Generator, period: float, width: int = 90, height: int = 66) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    turn = rng.uniform(0, np.pi)
    wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) / period * 2 * np.pi + rng.uniform(0, 2 * np.pi))
    grey = np.clip(128 + 90 * wave + rng.normal(0, 95, x.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def write_stripes(root: Path, train: int = 60, val: int = 40) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name, period in PERIODS.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                stripes(rng, period).save(root / split / name / f"{index:03d}.jpg", quality=92)
    return root


def write_archive(root: Path, kind: str, per_class: int) -> Path:
    """A published archive in small: a tint of each class, and much noise."""
    archive = ARCHIVES[kind]
    rng = np.random.default_rng(0)
    tints = rng.uniform(90, 165, (archive.num_classes, 3, 1, 1))
    (root / archive.folder).mkdir(parents=True)
    for name in (*archive.train, archive.test):
        labels = rng.permutation(np.arange(archive.num_classes * per_class) % archive.num_classes)
        pixels = np.clip(tints[labels] + rng.normal(0, 90, (len(labels), 3, 32, 32)), 0, 255).astype(np.uint8)
        batch = {b"data": pixels.reshape(len(labels), -1), archive.labels_key: labels.tolist()}
        (root / archive.folder / name).write_bytes(pickle.dumps(batch, 2))
    names = {archive.names_key: [f"class {index}".encode() for index in range(archive.num_classes)]}
    (root / archive.folder / archive.meta).write_bytes(pickle.dumps(names, 2))
    return root


def digits(folder: Path) -> tuple[str, Pictures]:
    canvases = make_canvases("validation", NUM_CANVASES["validation"])
    pictures = [Image.fromarray(image[0].numpy()) for image in canvases.images]
    return "digits", list(zip(pictures, canvases.labels.tolist(), strict=True))


def cifar(kind: str, per_class: int) -> Callable[[Path], tuple[str, Pictures]]:
    def write(folder: Path) -> tuple[str, Pictures]:
        archive = ARCHIVES[kind]
        write_archive(folder, kind, per_class)
        batches = [pickle.loads((folder / archive.folder / name).read_bytes()) for name in archive.train]  # noqa: S301
        labels = np.concatenate([batch[archive.labels_key] for batch in batches])
        rows = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        validation = hold_out(labels, HOLD_OUT)[1]
        return f"{kind}:{folder}", [(Image.fromarray(rows[index]), int(labels[index])) for index in validation]

    return write


def folder_pictures(root: Path) -> Pictures:
    """By the names of the classes, as people sort them."""
    pictures = []
    for label, name in enumerate(sorted(PERIODS)):
        for file in sorted((root / "val" / name).iterdir()):
            with Image.open(file) as image:
                pictures.append((image.convert("RGB"), label))
    return pictures


def folder(root: Path) -> tuple[str, Pictures]:
    write_stripes(root / "stripes")
    return f"folder:{root / 'stripes'}", folder_pictures(root / "stripes")


def beton(root: Path) -> tuple[str, Pictures]:
    """Reduced to 60 pixels, images are kept as pixels."""
    pytest.importorskip("ffcv", reason="ffcv is not installed (extra `ffcv`)", exc_type=ImportError)
    import cv2

    text, pictures = folder(root)
    file = root / "stripes.beton"
    pack_images(text, file, max_size=60, workers=1, force=False, show=lambda done, total: None)
    reduced = []
    for image, label in pictures:
        pixels = cv2.resize(np.asarray(image), (60, 44), interpolation=cv2.INTER_AREA)
        reduced.append((Image.fromarray(pixels), label))
    return f"beton:{file}", reduced


KINDS = {
    "digits": digits,
    "cifar10": cifar("cifar10", 12),
    "cifar100": cifar("cifar100", 20),
    "folder": folder,
    "beton": beton,
}
NAMES = {
    "digits": list("0123456789"),
    "cifar10": [f"class {index}" for index in range(10)],
    "cifar100": [f"class {index}" for index in range(100)],
    "folder": ["fine", "middle", "wide"],
    "beton": ["fine", "middle", "wide"],
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "beton" else ()) for kind in KINDS]
)
def test_timm_alone_gives_the_recorded_top1(kind: str, tmp_path: Path) -> None:
    text, pictures = KINDS[kind](tmp_path / "data")
    entry, recorded = trained_entry(text, tmp_path)
    assert recorded > 2 / len(NAMES[kind])
    assert top1_through_timm(entry, pictures) == recorded
    crops = [top1_through_timm(entry, pictures, crop_pct=crop) for crop in (1.0, 0.875)]
    assert crops[0] != crops[1]
    assert json.loads((entry / "config.json").read_text())["label_names"] == NAMES[kind]


def trained_entry(text: str, work: Path) -> tuple[Path, float]:
    """A study of one trained network, exported after its data have gone; the entry and the recorded top1."""
    source = open_data(text)
    space = make_space("conv_only", "nano", source.image_size, source.in_chans, source.num_classes)
    architecture = space.architecture(space.sample(np.random.default_rng(3)))
    context = EvaluationContext(EvaluationConfig(data=text, recipe=RECIPE))
    reached, finished = evaluate(Job(0, architecture.to_spec(), 0), context)
    assert isinstance(reached, RungReached) and isinstance(finished, Finished) and finished.weights is not None
    weights = work / "artifacts/weights/0.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(finished.weights)
    study = replace(
        study_record("macs", name="s"),
        data=source.name,
        data_location="folder:/nowhere",
        data_fingerprint=source.fingerprint,
        data_facts=source.facts,
    )
    return exported(study, architecture, reached, weights, work), reached.score.top1


def exported(study: StudyRecord, architecture: Architecture, reached: RungReached, weights: Path, work: Path) -> Path:
    facts = replace(
        sample_trial(0, reached.score.top1, 1.0),
        arch_hash=architecture.arch_hash,
        spec=architecture.to_spec(),
        layout=architecture.layout(),
        rungs=(reached.score,),
        weights=KeptWeights("weights/0.safetensors", hashlib.sha256(weights.read_bytes()).hexdigest()),
    )
    url = f"sqlite:///{work}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        store.create_study(study)
        store.record("s", facts, FrontKeeper("macs", (0.0, 1e12)).add(facts))
        stored = store.study("s")
        assert stored is not None
        workspace = Workspace(work, url, False)
        return export(stored, store, ExportConfig(pick="trial:0", zoo=work / "zoo", name="net"), workspace).folder
