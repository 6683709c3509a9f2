"""FFCV files that were written elsewhere: read, and refused where they are not whole."""

import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from tests.workers.data.samples import AUGMENTED, CPU, ROOT, check_batches, labels_of, write_beton
from workers.data.registry import load_data, open_data


def test_a_beton_file_is_read(beton: Path) -> None:
    source = open_data(f"beton:{beton}")
    assert source.name == "my-set"
    assert (source.num_classes, source.num_train, source.num_validation, source.image_size) == (3, 27, 3, 32)
    batches = load_data(source, AUGMENTED, CPU)
    check_batches(batches, channels=3, size=32, num_validation=3)
    assert sorted(labels_of(batches)) == [0, 1, 2]


def test_trainings_that_stop_early_leave_no_thread_behind(beton: Path) -> None:
    batches = load_data(open_data(f"beton:{beton}"), AUGMENTED, CPU)
    before = threading.active_count()
    for seed in range(3):
        training = batches.train(seed)
        next(training)
        training.close()
        validation = batches.validation()
        next(validation)
        validation.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before


@pytest.mark.slow
def test_importing_ffcv_leaves_the_threads_of_torch_alone(beton: Path) -> None:
    code = (
        "import sys, torch; torch.set_num_threads(2); from workers.data.registry import open_data; "
        "open_data(sys.argv[1]); "
        "assert 'ffcv' in sys.modules; print(torch.get_num_threads())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, f"beton:{beton}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "2"


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_a_truncated_beton_file_is_refused(beton: Path, keep: int) -> None:
    beton.write_bytes(beton.read_bytes()[:keep])
    with pytest.raises(InvalidInputError, match="is damaged or not written by FFCV: its header does not fit its size"):
        open_data(f"beton:{beton}")


def test_a_beton_file_without_the_end_of_its_last_table_is_refused(beton: Path) -> None:
    beton.write_bytes(beton.read_bytes()[:-48])
    with pytest.raises(InvalidInputError, match="its last table is cut off: it holds 28 of 30 entries"):
        open_data(f"beton:{beton}")


def test_a_file_that_ffcv_did_not_write_is_refused(beton: Path) -> None:
    beton.write_bytes(b"\x07" * 100_000)
    with pytest.raises(InvalidInputError, match="is damaged or not written by FFCV"):
        open_data(f"beton:{beton}")


def test_a_beton_file_that_is_not_there_is_refused(beton: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"cannot be read \(No such file or directory\); give a file that FFCV has written"
    ):
        open_data(f"beton:{beton}.nowhere")


def test_a_beton_file_with_one_class_is_refused(beton: Path) -> None:
    write_beton(beton, labels=(0,))
    with pytest.raises(InvalidInputError, match="has 1 class; a classifier needs at least 2"):
        open_data(f"beton:{beton}")


def test_a_beton_file_with_other_fields_is_refused(beton: Path) -> None:
    from ffcv.fields import IntField
    from ffcv.writer import DatasetWriter

    writer = DatasetWriter(str(beton), {"first": IntField(), "second": IntField()}, num_workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer.from_indexed_dataset([(0, 1), (1, 0)])
    with pytest.raises(
        InvalidInputError,
        match="fields first: IntField, second: IntField; expected exactly one RGBImageField and one IntField",
    ):
        open_data(f"beton:{beton}")


def test_without_ffcv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ffcv.reader", None)
    monkeypatch.setitem(sys.modules, "ffcv", None)
    with pytest.raises(InvalidInputError, match="install the extra `ffcv`"):
        open_data(f"beton:{tmp_path / 'any.beton'}")
