"""Decoded images kept once per node: found again, proved, shared, and given up where they cannot be kept."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.errors import InvalidInputError
from nas.text import json_hash
from tests.workers.data.samples import AUGMENTED, CPU, ROOT, check_batches, take_train, write_cifar10, write_folder
from workers.data import cache as caches
from workers.data import image_folder
from workers.data.batches import Batch, Batches
from workers.data.cache import ImageCache, ImageSet, caching, decoded
from workers.data.registry import load_data, open_data, prepare_data
from workers.data.source import showing

SHAPE = (64, 3, 8, 8)


def images_of(seed: int = 0, decodings: list[int] | None = None, shape: tuple[int, ...] = SHAPE) -> ImageSet:
    def decode() -> Iterator[Batch]:
        if decodings is not None:
            decodings.append(seed)
        pixels = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        labels = torch.arange(shape[0])
        yield pixels[:10], labels[:10]
        yield pixels[10:], labels[10:]

    return ImageSet(about={"seed": seed}, shape=shape, decode=decode)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.images"))


def left_behind(folder: Path) -> list[Path]:
    return [*folder.rglob("*.lock"), *folder.rglob(".*.part")]


def same(found: Batch, expected: Batch) -> bool:
    return torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def first_batches(batches: Batches) -> list[torch.Tensor]:
    return [*take_train(batches, 3), *(tensor for batch in batches.validation() for tensor in batch)]


@pytest.fixture(params=["folder", "cifar10"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write = write_folder if request.param == "folder" else write_cifar10
    return f"{request.param}:{write(tmp_path / 'data')}"


def test_training_on_kept_images_sees_the_same_bits(text: str, tmp_path: Path) -> None:
    source = open_data(text)
    expected = first_batches(load_data(source, AUGMENTED, CPU))
    for _ in range(2):  # decoded, then found
        opened = open_data(text, str(tmp_path / "cache"))
        assert opened == source
        batches = load_data(opened, AUGMENTED, CPU, str(tmp_path / "cache"))
        check_batches(batches, channels=3, size=32, num_validation=source.num_validation)
        assert all(torch.equal(*pair) for pair in zip(first_batches(batches), expected, strict=True))
    assert len(entries(tmp_path)) == {"folder": 2, "cifar10": 1}[source.kind]


def test_the_second_start_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"folder:{write_folder(tmp_path / 'data')}"
    cache = str(tmp_path / "cache")
    said: list[str] = []
    prepare_data(open_data(text, cache), cache, said.append)

    def fail(*given: object, **named: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr("PIL.Image.open", fail)
    monkeypatch.setattr(image_folder, "_fingerprint", fail)
    source = open_data(text, cache)
    prepare_data(source, cache, said.append)
    assert len(take_train(load_data(source, AUGMENTED, CPU, cache), 1)) == 2
    assert said == []


@pytest.mark.parametrize("small", [True, False])
def test_an_image_that_is_replaced_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Of a large set the fingerprint does not cover all contents."""
    if not small:
        monkeypatch.setattr(image_folder, "HASHED_BYTES", 1)
        monkeypatch.setattr("workers.data.source.HASHED_BYTES", 1)
    root = write_folder(tmp_path / "data")
    cache = str(tmp_path / "cache")

    def load() -> list[torch.Tensor]:
        return first_batches(load_data(open_data(f"folder:{root}", cache), AUGMENTED, CPU, cache))

    before = load()
    one = root / "val" / "cat" / "0.png"
    size = one.stat().st_size
    one.write_bytes((root / "val" / "dog" / "0.png").read_bytes()[:size].ljust(size, b"\0"))
    after = load()
    assert not torch.equal(before[-2], after[-2])


def test_labels_follow_their_classes(tmp_path: Path) -> None:
    """Renaming a class changes no pixel."""
    root = write_folder(tmp_path / "data")
    cache = str(tmp_path / "cache")
    load_data(open_data(f"folder:{root}", cache), AUGMENTED, CPU, cache)
    for split in ("train", "val"):
        (root / split / "cat").rename(root / split / "zebra")
    source = open_data(f"folder:{root}", cache)
    assert source.label_names == ("dog", "owl", "zebra")
    found = first_batches(load_data(source, AUGMENTED, CPU, cache))
    expected = first_batches(load_data(open_data(f"folder:{root}"), AUGMENTED, CPU))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_images_are_mapped_and_not_copied(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    images, labels = cache.images(images_of())
    (entry,) = entries(tmp_path)
    assert str(entry) in Path("/proc/self/maps").read_text(encoding="utf-8")
    images.zero_()  # reaches nobody else
    assert same(ImageCache(tmp_path).images(images_of()), decoded(images_of()))
    del images
    assert labels.tolist() == list(range(SHAPE[0]))
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert left_behind(tmp_path) == []


def _truncate(content: bytes) -> bytes:
    return content[:-100]


def _alter_header(content: bytes) -> bytes:
    return content.replace(b'"seed": 0', b'"seed": 1', 1)


def _alter_pixel(content: bytes) -> bytes:
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def _alter_label(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


@pytest.mark.parametrize("damage", [_truncate, _alter_header, _alter_pixel, _alter_label, lambda content: b""])
def test_damaged_images_are_decoded_again(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    decodings: list[int] = []
    cache = ImageCache(tmp_path)
    cache.images(images_of(0, decodings))
    (entry,) = entries(tmp_path)
    content = entry.read_bytes()
    damaged = damage(content)  # type: ignore[operator]
    assert damaged != content
    entry.unlink()
    entry.write_bytes(damaged)
    assert same(cache.images(images_of(0, decodings)), decoded(images_of()))
    assert decodings == [0, 0]
    assert f"{entry} is damaged" in caplog.text
    assert entry.read_bytes() == content


def test_the_least_used_goes_first_and_nothing_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "CACHE_BYTES", 3 * images_of().num_bytes)
    cache = ImageCache(tmp_path)
    kept = cache.images(images_of(0))
    for seed in (1, 2):
        cache.images(images_of(seed))
    for age_s, seed in enumerate((2, 1, 0)):
        os.utime(cache.folder / f"{json_hash({'seed': seed})}.images", (time.time(), time.time() - 100 * age_s))
    decodings: list[int] = []
    cache.images(images_of(3))
    for seed in (0, 2, 1):
        cache.images(images_of(seed, decodings))
    assert decodings == [1]
    assert same(kept, decoded(images_of(0)))


def test_what_is_larger_than_the_cache_or_the_disk_is_decoded_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caches, "MIN_FREE_BYTES", 2**60)
    cache = ImageCache(tmp_path)
    with caching(cache):
        found = decoded(images_of())
    assert same(found, decoded(images_of()))
    assert f"decoded images are not kept in {cache.folder} (no room for 0 MiB); every worker" in caplog.text
    assert list(cache.folder.iterdir()) == []


def test_old_files_and_what_dead_writers_left_are_removed(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    cache.images(images_of(0))
    (old,) = entries(tmp_path)
    os.utime(old, (0, 0))
    cache.note("state", {"some": "thing"})
    (cache.folder / ".dead.images.part").write_bytes(bytes(100))
    (cache.folder / "dead.lock").write_bytes(b"")
    cache.images(images_of(1))
    assert not old.exists()
    assert left_behind(tmp_path) == []
    assert cache.noted("state") == {"some": "thing"}


def test_a_note_is_taken_only_as_it_was_written(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    assert cache.noted("state") is None
    cache.note("state", {"num": 1})
    note = cache.folder / "state.source"
    for content in (note.read_text(encoding="utf-8").replace("1", "2", 1), "[", "", "[1, 2, 3]"):
        note.write_text(content, encoding="utf-8")
        assert cache.noted("state") is None


def test_a_folder_that_another_could_write_to_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cache = ImageCache(tmp_path)
    cache.folder.symlink_to(elsewhere)
    with caching(cache):
        decoded(images_of())
    assert "must belong to you and be writable by you alone" in caplog.text
    cache.folder.unlink()
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    with caching(cache):
        decoded(images_of())
    assert cache.noted("state") is None
    assert entries(tmp_path) == []


def test_preparing_says_why_nothing_is_kept_and_decodes_nothing(tmp_path: Path) -> None:
    source = open_data(f"folder:{write_folder(tmp_path / 'data')}")
    (tmp_path / "cache").write_text("in the way", encoding="utf-8")
    said: list[str] = []
    seen: list[str] = []
    with showing(lambda what, done, total, unit: seen.append(what)):
        prepare_data(source, str(tmp_path / "cache"), said.append)
    assert "decoding" not in seen
    (line,) = said
    assert line.startswith(f"note: decoded images are not kept in {tmp_path / 'cache'}")


def test_images_that_change_while_they_are_decoded_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "data")
    cache = str(tmp_path / "cache")
    source = open_data(f"folder:{root}", cache)
    (root / "train" / "cat" / "0.png").touch()
    load_data(source, AUGMENTED, CPU, cache)
    assert entries(tmp_path) == []


def test_an_unreadable_image_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    cache = str(tmp_path / "cache")
    source = open_data(f"folder:{root}", cache)
    (root / "train" / "owl" / "5.jpg").write_bytes(b"no image")
    with pytest.raises(InvalidInputError, match=r"owl/5\.jpg is no readable image"):
        prepare_data(source, cache, print)
    assert entries(tmp_path) == left_behind(tmp_path) == []


def _slow_set(counter: Path, pause_s: float) -> ImageSet:
    wanted = images_of()

    def decode() -> Iterator[Batch]:
        with counter.open("a", encoding="utf-8") as file:
            file.write("decoded\n")
        for some in wanted.decode():
            time.sleep(pause_s)
            yield some

    return ImageSet(about=wanted.about, shape=wanted.shape, decode=decode)


def _keep(base: Path, counter: Path, pause_s: float) -> None:
    found = ImageCache(base).images(_slow_set(counter, pause_s))
    assert same(found, decoded(images_of()))


def _started(count: int, *given: object) -> list[multiprocessing.context.ForkServerProcess]:
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=_keep, args=given) for _ in range(count)]
    for process in processes:
        process.start()
    return processes


@pytest.mark.slow
def test_one_decodes_and_the_others_wait(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    processes = _started(3, tmp_path, counter, 0.3)
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert counter.read_text(encoding="utf-8") == "decoded\n"
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_another_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    (killed,) = _started(1, tmp_path, counter, 600.0)
    while not counter.exists():
        time.sleep(0.05)
    (waiting,) = _started(1, tmp_path, counter, 0.0)
    time.sleep(0.3)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    waiting.join(300)
    killed.join(300)
    assert waiting.exitcode == 0
    assert counter.read_text(encoding="utf-8") == "decoded\ndecoded\n"
    assert left_behind(tmp_path) == []


def test_one_that_stands_still_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caches, "STANDSTILL_S", 0.1)
    monkeypatch.setattr(caches, "LOOK_S", 0.01)
    cache = ImageCache(tmp_path)
    cache.note("state", {})
    entry = cache.folder / f"{json_hash({'seed': 0})}.images"
    seen: list[str] = []
    with caches._alone(entry, 1), caching(cache), showing(lambda what, done, total, unit: seen.append(what)):
        assert same(decoded(images_of()), decoded(images_of()))
    assert "stands still for 0.1 s" in caplog.text
    assert set(seen) == {"waiting for another process that decodes"}


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a process stands for the disk: the writing itself fails."""
    program = """
import logging, resource, signal, sys
from pathlib import Path
from nas.text import json_hash
from tests.workers.data.test_cache import decoded, images_of, same, ImageCache, caching
logging.basicConfig()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
with caching(ImageCache(Path(sys.argv[1]))):
    found = decoded(images_of(shape=(64, 3, 32, 32)))
assert same(found, decoded(images_of(shape=(64, 3, 32, 32))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("decoded images are not kept") == 1
    assert "(File too large)" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
