"""Packing a data set into one FFCV file: what is in it, what is refused, and what an interruption leaves."""

import hashlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import launch
from nas.errors import InvalidInputError, NasError
from tests.workers.data.samples import AUGMENTED, CPU, check_batches, labels_of, snapshot, unpickle, write_cifar10
from workers.data.beton import pack
from workers.data.beton import sidecar as beton_sidecar
from workers.data.beton.pack import pack_images
from workers.data.beton.reader import image_table, open_reader
from workers.data.beton.sidecar import Sidecar
from workers.data.registry import load_data, open_data

ROOT = Path(__file__).parents[4]

pytestmark = pytest.mark.usefixtures("ffcv")


def write_smooth_folder(root: Path, *, train: int = 8, val: int = 4, size: tuple[int, int] = (300, 200)) -> Path:
    """Two classes; JPEGs whose contents survive another JPEG."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name in ("cat", "owl"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                seeds = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
                seeds.resize(size, Image.Resampling.BICUBIC).save(root / split / name / f"{i}.jpg", quality=95)
    return root


def pack_quietly(text: str, file: Path, *, max_size: int = 256, workers: int = 2, force: bool = False) -> Sidecar:
    return pack_images(text, file, max_size=max_size, workers=workers, force=force, show=lambda done, total: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_smooth_folder(tmp_path / "images")


@pytest.fixture
def packed(tmp_path: Path, folder: Path) -> Path:
    file = tmp_path / "pets.beton"
    pack_quietly(f"folder:{folder}", file)
    return file


def test_a_folder_comes_back_with_its_split_labels_and_images(folder: Path, packed: Path) -> None:
    source = open_data(f"beton:{packed}")
    original = open_data(f"folder:{folder}")
    assert (source.num_classes, source.num_train, source.num_validation, source.image_size) == (2, 16, 8, 128)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=128, num_validation=8)
    assert labels_of(batches) == [0] * 4 + [1] * 4
    assert source.label_names == original.label_names == ("cat", "owl")
    (images, _), (expected, _) = (next(load_data(each, AUGMENTED, CPU).validation()) for each in (source, original))
    assert float((images - expected).abs().mean()) < 0.05  # of standard deviations; other images differ by about 1
    assert float((images - expected.flip(0)).abs().mean()) > 0.5


def test_the_sidecar_says_what_is_in_the_file(folder: Path, packed: Path) -> None:
    content = packed.read_bytes()
    assert json.loads(Path(f"{packed}.json").read_text()) == {
        "source": f"folder:{folder}",
        "class_names": ["cat", "owl"],
        "num_train": 16,
        "num_validation": 8,
        "max_size": 256,
        "file_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    reader = open_reader("", packed)
    assert {(image["width"], image["height"]) for image in image_table("", reader)} == {(256, 170)}


def test_cifar_comes_back_pixel_by_pixel(tmp_path: Path) -> None:
    archive = write_cifar10(tmp_path)
    file = tmp_path / "cifar.beton"
    pack_quietly(f"cifar10:{tmp_path}", file)
    source = open_data(f"beton:{file}")
    original = open_data(f"cifar10:{tmp_path}")
    assert (source.num_classes, source.num_train, source.num_validation) == (10, 180, 20)
    assert labels_of(load_data(source, AUGMENTED, CPU)) == labels_of(load_data(original, AUGMENTED, CPU))
    content = file.read_bytes()
    table = image_table("", open_reader("", file))
    found = {content[place : place + 3072] for place in table["data_ptr"].tolist()}
    rows = np.concatenate([unpickle(archive / f"data_batch_{i}")[b"data"] for i in range(1, 6)])
    assert found == {row.reshape(3, 32, 32).transpose(1, 2, 0).tobytes() for row in rows}


def test_the_number_of_processes_does_not_change_the_file(tmp_path: Path, folder: Path, packed: Path) -> None:
    assert (
        pack_quietly(f"folder:{folder}", tmp_path / "again.beton", workers=1).sha256
        == Sidecar.from_text(Path(f"{packed}.json").read_text()).sha256
    )


def test_many_images_fill_pages_that_none_of_them_crosses(tmp_path: Path) -> None:
    write_smooth_folder(tmp_path / "images", train=90, val=2, size=(64, 64))
    file = tmp_path / "many.beton"
    pack_quietly(f"folder:{tmp_path / 'images'}", file)
    reader = open_reader("", file)
    first = reader.alloc_table["ptr"]
    last = reader.alloc_table["ptr"] + reader.alloc_table["size"] - 1
    assert len(np.unique(first // reader.page_size)) == 2
    assert np.array_equal(first // reader.page_size, last // reader.page_size)


def test_a_file_without_its_sidecar_still_opens_with_a_hold_out(packed: Path) -> None:
    Path(f"{packed}.json").unlink()
    source = open_data(f"beton:{packed}")
    assert (source.num_train, source.num_validation) == (22, 2)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("hashed_bytes", [0, beton_sidecar.HASHED_BYTES])
def test_a_truncated_file_and_an_altered_byte_are_refused(
    packed: Path, monkeypatch: pytest.MonkeyPatch, hashed_bytes: int
) -> None:
    monkeypatch.setattr(beton_sidecar, "HASHED_BYTES", hashed_bytes)
    open_data(f"beton:{packed}")  # a large file is now noted as checked
    assert packed.with_name(".pets.beton.checked").exists() == (hashed_bytes == 0)
    content = packed.read_bytes()
    times = packed.stat()
    for damaged, what in (
        (content[:-1], "truncated"),
        (content[:-5000] + bytes([content[-5000] ^ 1]) + content[-4999:], "altered"),
    ):
        packed.write_bytes(damaged)
        os.utime(packed, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(
            InvalidInputError,
            match=f"pets.beton is {what}: .*pack it again: launch.py pack folder:.* --max-size 256 --force",
        ):
            open_data(f"beton:{packed}")
    packed.write_bytes(content)
    open_data(f"beton:{packed}")


def test_a_large_file_is_read_once(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beton_sidecar, "HASHED_BYTES", 0)
    first = open_data(f"beton:{packed}")
    monkeypatch.setattr(beton_sidecar, "sha256_of", lambda file: pytest.fail("read again"))
    assert open_data(f"beton:{packed}") == first


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\xff", '{"num_train": 1}'])
def test_a_damaged_sidecar_is_refused(packed: Path, text: str) -> None:
    Path(f"{packed}.json").write_text(text, encoding="latin-1")
    with pytest.raises(
        InvalidInputError, match=r"pets.beton.json is damaged or was not written by .*; pack the file again"
    ):
        open_data(f"beton:{packed}")


def truncate_image(root: Path) -> str:
    path = root / "train/owl/5.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return r"train/owl/5\.jpg is no readable image .*truncated.*; replace or remove it"


def narrow_image(root: Path) -> str:
    Image.new("RGB", (900, 2)).save(root / "val/cat/3.jpg")
    return r"val/cat/3\.jpg has 900 x 2 pixels, of which nothing is left at --max-size 256; remove it"


@pytest.mark.parametrize("damage", [truncate_image, narrow_image])
def test_an_image_that_cannot_be_packed_is_named_and_nothing_is_left(
    tmp_path: Path, folder: Path, damage: Callable[[Path], str]
) -> None:
    message = damage(folder)
    before = snapshot(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        pack_quietly(f"folder:{folder}", tmp_path / "pets.beton")
    assert snapshot(tmp_path) == before


def test_a_full_disk_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    before = snapshot(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    try:
        with pytest.raises(
            NasError, match=r"pets.beton cannot be written \(File too large\), nothing is left of it; make room"
        ):
            pack_quietly(f"folder:{folder}", tmp_path / "pets.beton")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(tmp_path) == before


def test_what_cannot_be_decoded_again_never_gets_its_name(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pack.encode_image
    monkeypatch.setattr(
        pack, "encode_image", lambda *given: pack.EncodedImage((image := write(*given)).table_row, image.content[:-300])
    )
    before = snapshot(tmp_path)
    with pytest.raises(NasError, match=r"train/cat/0\.jpg cannot be decoded from what was written"):
        pack_quietly(f"folder:{folder}", tmp_path / "pets.beton")
    assert snapshot(tmp_path) == before


# ---------------------------------------------------------------- the command


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["launch.py", "pack", *map(str, arguments)])
    try:
        launch.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_an_existing_file_is_replaced_only_by_force(
    folder: Path, packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = packed.read_bytes()
    assert command(monkeypatch, f"folder:{folder}", packed, "--max-size", 64) == 2
    assert "pets.beton exists; give another name, or --force to replace it" in capsys.readouterr().err
    assert packed.read_bytes() == before
    assert command(monkeypatch, f"folder:{folder}", packed, "--max-size", 64, "--force") == 0
    assert "16 images for training and 8 for validation in 2 classes" in capsys.readouterr().out
    assert open_data(f"beton:{packed}").image_size == 32


def test_a_foreign_file_in_the_place_of_the_sidecar_stays(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "pets.beton.json").write_text("mine")
    with pytest.raises(InvalidInputError, match=r"pets.beton.json is damaged or was not written by"):
        pack_quietly(f"folder:{folder}", tmp_path / "pets.beton")
    assert (tmp_path / "pets.beton.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("source", "file", "options", "message"),
    [
        ("digits", "a.beton", [], "source 'digits' cannot be packed; expected cifar10:DIR, cifar100:DIR or folder:DIR"),
        ("folder:", "a.beton", [], "source 'folder:' cannot be packed"),
        ("folder:/no/such", "a.beton", [], "/no/such/train cannot be listed"),
        ("folder:.", "a.ffcv", [], "a.ffcv' ends in '.ffcv'; expected a file name that ends in .beton"),
        ("folder:.", "no/a.beton", [], "lies in a folder that does not exist"),
        ("folder:.", "a.beton", ["--max-size", "16"], "--max-size is 16; expected 32 to 4096 pixels"),
        ("folder:.", "a.beton", ["--workers", "0"], "--workers is 0; expected at least 1"),
    ],
)
def test_bad_input_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    file: str,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch, source, file, *options) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_progress_is_lines_now_and_then_or_a_bar(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, f"folder:{folder}", tmp_path / "a.beton") == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("hybrid_nas.commands.LINE_S", 0.0)
    assert command(monkeypatch, f"folder:{folder}", tmp_path / "b.beton") == 0
    lines = capsys.readouterr().err.splitlines()
    for expected in ("checking: 24 of 24 images", "packing: 24 of 24 images", "hashing: 4 of 4 MB"):
        assert any(line.startswith(expected) for line in lines)
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert command(monkeypatch, f"folder:{folder}", tmp_path / "c.beton") == 0
    bars = click.unstyle(terminal.getvalue())
    assert "100%" in bars
    assert re.search(r"packing .* 24/24 .* images/s", bars)


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_no_file_and_the_same_command_completes(tmp_path: Path) -> None:
    write_smooth_folder(tmp_path / "images", train=900, val=100, size=(160, 120))
    file = tmp_path / "pets.beton"
    part = tmp_path / ".pets.beton.part"
    words = [sys.executable, "launch.py", "pack", f"folder:{tmp_path / 'images'}", str(file), "--workers", "2"]
    first = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (part.exists() and part.stat().st_size > 2**21 + 500_000):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    children = psutil.Process(first.pid).children()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert part.exists()
    assert not file.exists() and not Path(f"{file}.json").exists()
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "pets.beton", "pets.beton.json"}
    source = open_data(f"beton:{file}")
    assert (source.num_train, source.num_validation) == (1800, 200)
    assert torch.equal(torch.tensor(labels_of(load_data(source, AUGMENTED, CPU))), torch.tensor([0] * 100 + [1] * 100))


def test_two_that_write_the_same_file_do_not_meet(tmp_path: Path, folder: Path) -> None:
    with pack._claimed(tmp_path / ".pets.beton.part") as stream:
        with pytest.raises(InvalidInputError, match=r"\.pets\.beton\.part is being written by another process"):
            pack_quietly(f"folder:{folder}", tmp_path / "pets.beton")
        assert os.path.samestat(os.fstat(stream.fileno()), (tmp_path / ".pets.beton.part").stat())
