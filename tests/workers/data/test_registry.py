"""Texts that name data sets, and the table of their kinds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import InvalidInputError
from tests.workers.data.samples import CPU, PLAIN, write_cifar10
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
