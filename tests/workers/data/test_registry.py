"""Texts that name data sets, and the table of their kinds."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import InvalidInputError
from tests.samples import study_record
from tests.workers.data.samples import CPU, PLAIN, write_cifar10, write_folder
from workers.data.digits import digits_test, load_digits_batches, open_digits
from workers.data.registry import (
    EXPECTED,
    KINDS,
    PACKABLE,
    DataKind,
    load_data,
    load_test,
    open_data,
    open_images,
    open_same_data,
    open_study_data,
)
from workers.data.source import LabelledImages
from workers.training.recipes import RECIPES, default_recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "data 'mnist' is unknown; expected digits, cifar10:DIR"),
        ("", "data '' is unknown"),
        ("cifar10", "data 'cifar10': the path is missing; expected"),
        ("folder:", "data 'folder:': the path is missing"),
        ("digits:/here", "digits takes no path"),
    ],
)
def test_a_text_that_names_no_data_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_data(text)
    assert message in str(caught.value)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path / "sets")
    monkeypatch.chdir(tmp_path)
    source = open_data("cifar10:sets")
    assert source.text == f"cifar10:{tmp_path / 'sets'}"
    monkeypatch.chdir("/")
    assert open_data(source.text) == source


def test_a_path_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'/no/such/place' neither holds nor is the folder cifar-10-batches-py"):
        open_data("cifar10:/no/such/place")
    with pytest.raises(InvalidInputError, match="/no/such/place/train cannot be listed"):
        open_data("folder:/no/such/place")


def test_data_that_have_moved_are_known_by_what_they_hold(tmp_path: Path) -> None:
    source = open_data(f"folder:{write_folder(tmp_path / 'before')}")
    study = replace(
        study_record(), data_location=source.text, data_fingerprint=source.fingerprint, data_facts=source.facts
    )
    assert open_study_data(study, None) == source
    (tmp_path / "before").rename(tmp_path / "after")
    moved = f"folder:{tmp_path / 'after'}"
    assert open_study_data(study, moved).text == moved
    with pytest.raises(InvalidInputError, match=r"before/train cannot be listed .*name them with --data"):
        open_study_data(study, None)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda root: (root / "train/cat/0.png").unlink(), "(17 training images, expected 18)"),
        (
            lambda root: shutil.copy(root / "val/cat/0.png", root / "val/cat/9.png"),
            "(19 validation images, ",
        ),
        (
            lambda root: [(root / split / "owl").rename(root / split / "Owl") for split in ("train", "val")],
            "(surplus classes: Owl; missing classes: owl)",
        ),
        (lambda root: (root / "val/cat/0.png").rename(root / "val/cat/z.png"), "but other contents or names of files)"),
    ],
)
def test_other_data_are_told_apart_in_words(tmp_path: Path, change: Callable[[Path], object], difference: str) -> None:
    root = write_folder(tmp_path)
    source = open_data(f"folder:{root}")
    change(root)
    with pytest.raises(InvalidInputError) as caught:
        open_same_data(f"folder:{root}", source.fingerprint, source.facts)
    assert difference in str(caught.value) and source.fingerprint[:12] not in str(caught.value)


def test_test_images_that_are_gone_are_missed(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    source = open_data(f"folder:{root}")
    study = replace(study_record(), data_fingerprint=source.fingerprint)
    had_some = replace(study, data_facts=replace(source.facts, num_test=12))
    with pytest.raises(InvalidInputError, match="have 0 test images, expected the 12 of the study"):
        open_study_data(had_some, f"folder:{root}")
    assert open_study_data(replace(study, data_facts=source.facts), f"folder:{root}").num_test == 0


def test_a_data_set_is_one_entry_of_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What docs/extending.md asks for: with the entry alone it is opened, trained on, tested, packed and has a
    recipe."""
    images = LabelledImages(
        class_names=("a", "b"), labels=np.zeros(1), num_train=1, name_of=str, read=lambda index: np.zeros((1, 1, 3))
    )
    entry = DataKind(
        path="DIR",
        open=lambda text, kind, path: replace(open_digits(), kind=kind, text=text),
        load=load_digits_batches,
        load_test=digits_test,
        images=lambda text, kind, path: images,
        recipe="cifar",
    )
    with pytest.raises(InvalidInputError, match="data 'own:here' is unknown"):
        open_data("own:here")
    monkeypatch.setitem(KINDS, "own", entry)
    monkeypatch.chdir(tmp_path)
    source = open_data("own:here")
    assert source.text == f"own:{tmp_path}/here"
    assert next(load_data(source, PLAIN, CPU).train(0))[0].shape == (8, 1, 32, 32)
    assert next(load_test(source, PLAIN, CPU))[0].shape == (256, 1, 32, 32)
    assert open_images("own:here") == (source.text, images)
    assert default_recipe(replace(source, num_train=45_000)) is RECIPES["cifar"]


def test_messages_list_the_table() -> None:
    assert EXPECTED == "digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE"
    assert PACKABLE == "cifar10:DIR, cifar100:DIR or folder:DIR"
