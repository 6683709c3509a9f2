"""Folders of images: read, checked, kept apart and told by name where they are damaged."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.errors import InvalidInputError
from tests.workers.data.samples import (
    AUGMENTED,
    CPU,
    PLAIN,
    check_batches,
    labels_of,
    labels_of_the_test,
    snapshot,
    take_train,
    truncate,
    write_folder,
)
from workers.data import image_folder, streamed
from workers.data.registry import load_data, load_test, open_data, open_images
from workers.data.source import showing
from workers.data.streamed import StreamedBatches


def test_a_folder_is_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "my pets")
    source = open_data(f"folder:{root}")
    assert source.name == "folder-my-pets"
    assert (source.num_classes, source.num_train, source.num_validation, source.image_size) == (3, 18, 18, 32)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=32, num_validation=18)
    assert labels_of(batches) == [0] * 6 + [1] * 6 + [2] * 6


def test_images_of_a_folder_test_are_kept_apart_if_they_have_labels(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    before = open_data(f"folder:{root}")
    assert before.num_test == 0
    for name in ("cat", "owl"):
        shutil.copytree(root / "val" / name, root / "test" / name)
    source = open_data(f"folder:{root}")
    assert source == replace(before, num_test=12)
    assert labels_of_the_test(source) == [0] * 6 + [2] * 6
    (root / "test" / "cat").rename(root / "test" / "unlabelled")
    assert open_data(f"folder:{root}") == before


def test_a_folder_too_large_for_memory_gives_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    kept = load_data(source, AUGMENTED, CPU)
    monkeypatch.setattr(streamed, "MEMORY_BYTES", 0)
    anew = load_data(source, AUGMENTED, CPU)
    assert isinstance(anew, StreamedBatches)
    check_batches(anew, channels=3, size=32, num_validation=18)
    for (images, labels), (images_kept, labels_kept) in zip(anew.validation(), kept.validation(), strict=True):
        assert torch.equal(images, images_kept)
        assert torch.equal(labels, labels_kept)


def test_reading_a_folder_leaves_the_random_numbers_of_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    monkeypatch.setattr(streamed, "MEMORY_BYTES", 0)
    batches = load_data(source, AUGMENTED, CPU)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take_train(batches, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_images_and_images_with_transparency_become_rgb(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    Image.new("L", (50, 40), 128).save(root / "val" / "cat" / "0.png")
    Image.new("RGBA", (50, 40), (255, 0, 0, 128)).save(root / "val" / "cat" / "2.png")
    images, _ = next(load_data(open_data(f"folder:{root}"), PLAIN, CPU).validation())
    assert images.shape == (18, 3, 32, 32)


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    ramp = np.tile(np.linspace(0, 65535, 50).astype(np.uint16), (40, 1))
    for name in ("0.png", "2.png"):
        Image.fromarray((ramp // 257).astype(np.uint8)).save(root / "val" / "cat" / name)
    Image.fromarray(ramp).save(root / "val" / "cat" / "2.png")
    images, _ = next(load_data(open_data(f"folder:{root}"), PLAIN, CPU).validation())
    assert torch.equal(images[0], images[2])  # 0.png, 1.jpg, 2.png


NOBODYS = (
    *("._0.png", ".DS_Store", ".nfs0000000100000001", ":2e_0.png", "0.png~", "~$0.png", "Thumbs.db", "desktop.ini"),
    *(".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/0.png", "@eaDir/0.png/SYNOPHOTO_THUMB_XL.jpg"),
    *(".AppleDouble/0.png", "lost+found/0.png", "$RECYCLE.BIN/0.png", "System Volume Information/0.png"),
    *("#recycle/0.png", "@__thumb/0.png", "~snapshot/0.png", "__pycache__/0.png", ".Trash-1000/files/0.png"),
    "RECYCLER/0.png",
)
"""What Windows, macOS, Linux, network disks and tools leave in folders."""


@pytest.mark.parametrize("depth", ["", "cat", "cat/outdoors"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_what_is_left_behind_is_passed_over_at_every_depth(tmp_path: Path, split: str, depth: str) -> None:
    root = write_folder(tmp_path)
    shutil.copytree(root / "val", root / "test")
    for part in ("train", "val", "test"):
        (root / part / "cat/outdoors").mkdir()
    before = open_data(f"folder:{root}")
    assert (before.num_test, before.passed_over) == (18, "")
    for name in NOBODYS:
        file = root / split / depth / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no image at all")
    source = open_data(f"folder:{root}")
    assert source.passed_over == "21 files: 15 .png, 2 without suffix, 1 .db, 1 .ini, 1 .jpg, 1 .png~"
    assert replace(source, passed_over="") == before
    assert sum(len(images) for images, _ in load_test(source, PLAIN, CPU)) == 18


def test_other_files_are_counted_wherever_they_lie(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    (root / "train" / "labels.csv").touch()
    (root / "train" / "beside.jpg").touch()
    (root / "val" / "owl" / "notes").touch()
    (root / "val" / "owl" / "clip.GIF").touch()
    (root / "val" / "owl" / "gone.jpg").symlink_to("nowhere.jpg")
    source = open_data(f"folder:{root}")
    assert source.passed_over == "5 files: 2 .jpg, 1 without suffix, 1 .csv, 1 .gif"
    assert (source.num_train, source.num_validation) == (18, 18)


def test_a_class_may_be_named_like_the_bin_of_an_old_windows(tmp_path: Path) -> None:
    source = open_data(f"folder:{write_folder(tmp_path, classes=('glass', 'recycled', 'Recycler'))}")
    assert source.label_names == ("Recycler", "glass", "recycled")
    assert source.passed_over == ""


def test_a_class_that_is_a_link_to_nowhere_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    for split in ("train", "val"):
        (root / split / "wolf").symlink_to(tmp_path / "unmounted" / split / "wolf")
    with pytest.raises(InvalidInputError, match=r"wolf cannot be listed .*leads nowhere"):
        open_data(f"folder:{root}")


def test_a_folder_in_a_hidden_place_is_as_good_as_any(tmp_path: Path) -> None:
    source = open_data(f"folder:{write_folder(tmp_path / '.cache' / 'lost+found')}")
    assert (source.num_train, source.passed_over) == (18, "")


def test_several_broken_images_are_listed_in_one_message(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    shutil.copytree(root / "val", root / "test")
    broken = [
        "train/cat/0.png",
        "train/dog/1.jpg",
        "train/owl/2.png",
        "val/cat/3.jpg",
        "test/owl/4.png",
        "test/owl/5.jpg",
    ]
    for name in broken:
        make_unreadable(root / name)
    for read in (open_data, open_images):
        with pytest.raises(InvalidInputError) as caught:
            read(f"folder:{root}")
        message = str(caught.value)
        assert all(f"{root / name} is no readable image (cannot identify" in message for name in broken[:4])
        assert "; replace or remove them" in message and "\n" not in message
        assert f": {6 if read is open_data else 4} images cannot be read: " in message
        assert ("and 1 more; " in message) == (read is open_data)


def test_a_name_that_is_no_plain_text_is_escaped(tmp_path: Path) -> None:
    names = ["b\nc", "caf\udce9", "größe", 'a "quoted" | `name`']
    root = write_folder(tmp_path, classes=tuple(names))
    (root / "train" / "größe" / "0.png").rename(root / "train" / "größe" / "\udcff.png")
    source = open_data(f"folder:{root}")
    assert source.label_names == ('a "quoted" | `name`', "b\\nc", "caf\\udce9", "größe")


def test_progress_is_told_while_a_folder_is_opened_and_decoded(tmp_path: Path) -> None:
    told = []
    root = write_folder(tmp_path)
    with showing(lambda *words: told.append(words)):
        load_data(open_data(f"folder:{root}"), PLAIN, CPU)
    assert {("listing", 18, 0, "images"), ("checking", 36, 36, "images"), ("decoding", 18, 18, "images")} <= set(told)


def make_unreadable(path: Path) -> None:
    path.write_bytes(b"no image at all")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: make_unreadable(root / "val/dog/3.jpg"), "val/dog/3.jpg is no readable image"),
        (lambda root: truncate(root / "train/owl/4.png"), "train/owl/4.png is no readable image"),
        (
            lambda root: Image.fromarray(np.zeros((40, 50), dtype=np.float32)).save(root / "train/owl/depth.tiff"),
            "train/owl/depth.tiff is no readable image (its pixels are numbers of 32 bits, mode F",
        ),
        (lambda root: [path.unlink() for path in (root / "train/cat").iterdir()], "class with too few images: cat (0)"),
        (lambda root: (root / "val/fox").mkdir(), "train/ and val/ differ in their class folders (fox in one only)"),
        (lambda root: (root / "val").rename(root / "test"), "val cannot be listed (No such file or directory)"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_folder(tmp_path))
    before = snapshot(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        open_data(f"folder:{tmp_path}")
    assert message in str(caught.value)
    assert snapshot(tmp_path) == before


def test_headers_are_checked_beyond_the_decoded_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path)
    make_unreadable(root / "val/owl/5.jpg")
    monkeypatch.setattr(image_folder, "SAMPLE", 2)
    monkeypatch.setattr(image_folder, "HASHED_BYTES", 0)
    with pytest.raises(InvalidInputError, match=r"val/owl/5.jpg is no readable image .* replace or remove it"):
        open_data(f"folder:{root}")


def test_a_small_set_is_decoded_wholly_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path)
    truncate(root / "val/owl/5.jpg")  # only its end is missing
    monkeypatch.setattr(image_folder, "SAMPLE", 2)
    with pytest.raises(InvalidInputError, match=r"val/owl/5.jpg is no readable image .*truncated"):
        open_data(f"folder:{root}")


@pytest.mark.parametrize("memory_bytes", [0, streamed.MEMORY_BYTES])
def test_an_image_that_is_found_damaged_later_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
) -> None:
    source = open_data(f"folder:{write_folder(tmp_path)}")
    truncate(tmp_path / "val/dog/3.jpg")  # its header stays whole, as in a large set that was not decoded wholly
    monkeypatch.setattr(streamed, "MEMORY_BYTES", memory_bytes)
    with pytest.raises(InvalidInputError, match=r"val/dog/3\.jpg is no readable image"):
        list(load_data(source, PLAIN, CPU).validation())


def test_one_class_is_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path, classes=("cat",))
    with pytest.raises(InvalidInputError, match="has 1 class; a classifier needs at least 2"):
        open_data(f"folder:{root}")


def test_the_fingerprint_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    prints = [open_data(f"folder:{root}").fingerprint]
    (root / "val/cat/0.png").rename(root / "val/cat/zero.png")
    prints.append(open_data(f"folder:{root}").fingerprint)
    Image.new("RGB", (50, 40)).save(root / "train/dog/0.png")
    prints.append(open_data(f"folder:{root}").fingerprint)
    assert len(set(prints)) == 3
