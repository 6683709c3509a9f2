"""Whether an entry of the zoo sees what its search measured: recorded top1, and that of timm alone, for every kind.

    python -m benchmarks.preprocessing [--images TAR] [--steps 400]

TAR holds train/CLASS/*.jpg and val/CLASS/*.jpg of 32 x 32 pixels in ten classes; without it all images are made up.
CIFAR archives are written in the published format. The 100 classes of CIFAR-100 are the ten in ten tints each. Images
of folders have 90 x 66 pixels; packed ones are JPEG again. Each network is found and trained by launch.py, and exported
after its data were moved away. Then a process that imports timm, and of ours only the entry's module, scores the
validation images by the entry's own transform, and by two others.
"""

import argparse
import io
import json
import pickle  # noqa: TID251 - the format of the archives, written here
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from workers.data.beton.reader import image_table, label_table, open_reader
from workers.data.cifar import ARCHIVES, HOLD_OUT
from workers.data.digits import make_canvases
from workers.data.source import hold_out

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
PERIODS = (5.0, 6.3, 8.0)
"""Distance of the stripes in each class of a folder, pixels: by another crop one class looks like another."""
SCORE = """
import json, sys
import numpy as np, timm, torch
from PIL import Image
entry, file = sys.argv[1:]
sys.path.insert(0, entry)
import hybrid_backbone
torch.set_num_threads(1)
kept = np.load(file)
pictures = [Image.fromarray(kept[str(index)]) for index in range(len(kept["labels"]))]
model = timm.create_model(f"local-dir:{entry}", pretrained=True).eval()
own = timm.data.resolve_model_data_config(model)
result = {}
for name, changed in {"own": {}, "1.0": {"crop_pct": 1.0}, "0.875": {"crop_pct": 0.875}}.items():
    transform = timm.data.create_transform(**{**own, **changed})
    images = torch.stack([transform(picture) for picture in pictures])
    with torch.inference_mode():
        answers = model(images).argmax(1).numpy()
    result[name] = float(np.mean(answers == kept["labels"]))
assert not {"nas", "workers", "search_spaces"} & set(sys.modules)
print(json.dumps(result))
"""

Labelled = tuple[np.ndarray, int]
"""(height, width[, 3]) uint8 pixels, and their class."""
Split = dict[str, list[Labelled]]


def read_tar(file: Path) -> Split:
    """The images of a TAR, by split; classes in the order of their names."""
    found: dict[str, list[tuple[np.ndarray, str]]] = {"train": [], "val": []}
    with tarfile.open(file) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                *_, split, name, _ = Path(member.name).parts
                pixels = np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"))
                found[split].append((pixels, name))
    names = sorted({name for _, name in found["train"]})
    split: Split = {}
    for part, items in found.items():
        split[part] = [(pixels, names.index(name)) for pixels, name in items]
    return split


def made_up(rng: np.random.Generator, per_class: int = 200) -> Split:
    """Ten classes of stripes, each with a direction of its own."""
    split: Split = {}
    for part, count in (("train", per_class), ("val", per_class // 5)):
        labels = np.repeat(np.arange(10), count).tolist()
        split[part] = [(stripes(rng, 7.0, 32, 32, label * np.pi / 10), label) for label in labels]
    return split


def stripes(rng: np.random.Generator, period: float, width: int, height: int, turn: float) -> np.ndarray:
    """(height, width, 3) uint8: a wave in one direction, and noise."""
    y, x = np.mgrid[:height, :width]
    phase = (x * np.cos(turn) + y * np.sin(turn)) / period + rng.uniform()
    grey = np.clip(128 + 90 * np.sin(2 * np.pi * phase) + rng.normal(0, 80, x.shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def tinted(split: Split, rng: np.random.Generator) -> Split:
    """Every class in ten tints, which are classes of their own: the tenth of an image's place in its list."""
    tints = rng.uniform(0.55, 1.0, (10, 3))
    made: Split = {}
    for name, items in split.items():
        order = rng.permutation(len(items))
        made[name] = []
        for place, index in enumerate(order.tolist()):
            pixels, label = items[index]
            tint = place % 10
            made[name].append(((pixels * tints[tint]).astype(np.uint8), 10 * label + tint))
    return made


def write_cifar(root: Path, kind: str, split: Split) -> str:
    """An archive in the published format, protocol 2 with keys of bytes; returns the text of the data."""
    archive = ARCHIVES[kind]
    folder = root / archive.folder
    folder.mkdir(parents=True)
    order = np.random.default_rng(1).permutation(len(split["train"]))
    batches = dict(zip(archive.train, np.array_split(order, len(archive.train)), strict=True))
    parts = {archive.test: split["val"]}
    for name, chosen in batches.items():
        parts[name] = [split["train"][index] for index in chosen]
    for name, items in parts.items():
        rows = np.stack([pixels.transpose(2, 0, 1).reshape(-1) for pixels, _ in items])
        batch = {b"data": rows, archive.labels_key: [label for _, label in items], b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    names = [f"class {index}".encode() for index in range(archive.num_classes)]
    (folder / archive.meta).write_bytes(pickle.dumps({archive.names_key: names}, 2))
    return f"{kind}:{root}"


def cifar_validation(root: Path, kind: str) -> Iterator[Labelled]:
    """The hold-out, from the files."""
    archive = ARCHIVES[kind]
    batches = [pickle.loads((root / archive.folder / name).read_bytes()) for name in archive.train]  # noqa: S301
    labels = np.concatenate([batch[archive.labels_key] for batch in batches])
    rows = np.concatenate([batch[b"data"] for batch in batches])
    for index in hold_out(labels, HOLD_OUT)[1]:
        yield rows[index].reshape(3, 32, 32).transpose(1, 2, 0), int(labels[index])


def write_folder(root: Path, rng: np.random.Generator) -> str:
    """Three classes of stripes in any direction, not square and larger than the input."""
    for split, count in (("train", 200), ("val", 100)):
        for label, period in enumerate(PERIODS):
            folder = root / split / f"class {label}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = stripes(rng, period, 90, 66, rng.uniform(0, np.pi))
                Image.fromarray(pixels).save(folder / f"{index:03d}.jpg", quality=92)
    return f"folder:{root}"


def folder_validation(root: Path) -> Iterator[Labelled]:
    for label in range(len(PERIODS)):
        for file in sorted((root / "val" / f"class {label}").iterdir()):
            yield np.asarray(Image.open(file).convert("RGB")), label


def beton_validation(file: Path, num_train: int) -> Iterator[Labelled]:
    """What lies in the file behind the training images."""
    reader = open_reader("", file)
    labels = label_table("", reader)
    content = file.read_bytes()
    for index, row in enumerate(image_table("", reader)[num_train:], num_train):
        start = int(row["data_ptr"])
        stored = content[start : start + int(reader.alloc_table["size"][index])]
        yield np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")), int(labels[index])


def digits_validation() -> Iterator[Labelled]:
    canvases = make_canvases("validation", 1024)
    for image, label in zip(canvases.images.numpy(), canvases.labels.tolist(), strict=True):
        yield image[0], label


def launch(work: Path, *words: str) -> None:
    subprocess.run([sys.executable, str(LAUNCH), *words], cwd=work, check=True, stdout=subprocess.DEVNULL)


def searched(work: Path, kind: str, text: str, hide: Callable[[], object]) -> float:
    """Search, move the data away, export; returns the recorded top1."""
    study = ("--study", kind, "--storage", "sqlite:///nas.db")
    options = ("--space", "conv_only", "--budget", "1", "--workers", "1", "--objectives", "top1,macs")
    launch(work, *options, *study, "--recipe", "recipe.json", "--data", text)
    hide()
    launch(work, "export", *study, "--pick", "trial:0", "--name", kind)
    index = json.loads((work / "zoo" / "index.json").read_text(encoding="utf-8"))
    return float(next(entry["top1"] for entry in index["models"] if entry["name"] == kind))


def report(work: Path, kind: str, text: str, validation: Iterator[Labelled]) -> bool:
    """Search on one kind of data and print its row; whether timm alone gave the recorded top1."""
    pictures = list(validation)
    kept = work / f"{kind}.npz"
    np.savez(kept, labels=[label for _, label in pictures], **{str(i): one for i, (one, _) in enumerate(pictures)})
    place = Path(text.partition(":")[2]) if ":" in text else None
    recorded = searched(work, kind, text, lambda: place and place.rename(place.with_name(f"{place.name} moved")))
    words = [sys.executable, "-c", SCORE, str(work / "zoo" / kind), str(kept)]
    found = json.loads(subprocess.run(words, cwd=work, check=True, capture_output=True, text=True).stdout)
    chance = 1 / len({label for _, label in pictures})
    numbers = "".join(f"{found[name]:10.4f}" for name in ("own", "1.0", "0.875"))
    print(f"{kind:9}{len(pictures):7}{chance:8.2f}{recorded:10.4f}{numbers}", flush=True)
    return bool(found["own"] == recorded and recorded > 2 * chance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--images", type=Path, help="TAR of images; made up without it")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        recipe = {"rungs": [options.steps], "batch_size": 16, "learning_rate": 0.003}
        (work / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
        ten = made_up(rng) if options.images is None else read_tar(options.images)
        texts = {
            "digits": "digits",
            "cifar10": write_cifar(work / "ten", "cifar10", ten),
            "cifar100": write_cifar(work / "hundred", "cifar100", tinted(ten, rng)),
            "folder": write_folder(work / "stripes", rng),
            "beton": f"beton:{work}/stripes.beton",
        }
        launch(work, "pack", texts["folder"], str(work / "stripes.beton"))
        readers = {
            "digits": digits_validation(),
            "cifar10": cifar_validation(work / "ten", "cifar10"),
            "cifar100": cifar_validation(work / "hundred", "cifar100"),
            "folder": folder_validation(work / "stripes"),
            "beton": beton_validation(work / "stripes.beton", 200 * len(PERIODS)),
        }
        print(f"{'kind':9}{'images':>7}{'chance':>8}{'recorded':>10}{'timm':>10}{'crop 1':>10}{'0.875':>10}")
        right = [report(work, kind, texts[kind], readers[kind]) for kind in texts]
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
