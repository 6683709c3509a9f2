"""A module as text: its code runs once in a process, also where there is no file."""

import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from nas.errors import InvalidInputError
from search_spaces.build import build_model, builder
from search_spaces.space_module import SpaceModule, find_module
from tests.own_spaces import write_example, write_own_networks

SPEC = {"hidden": 4, "image_size": 8, "in_chans": 1, "num_classes": 3}


def found(file: Path) -> SpaceModule:
    module = find_module(str(file))
    assert module is not None
    return module


def test_the_text_is_all_that_a_worker_needs(tmp_path: Path) -> None:
    module = found(write_own_networks(tmp_path))
    (tmp_path / "plain.py").unlink()
    travelled = SpaceModule(**asdict(module))
    network = builder(travelled)(SPEC, 0.0)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_its_code_runs_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = write_example(tmp_path)
    first = found(file)
    assert first.load() is first.load()
    file.write_text(f"{first.source}\nNEW = 1\n", encoding="utf-8")
    assert "NEW" in vars(found(file).load()) and "NEW" not in vars(first.load())


def test_code_that_fails_is_run_again(tmp_path: Path) -> None:
    module = SpaceModule(str(tmp_path / "mine.py"), "1 / 0")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(InvalidInputError, match="raises ZeroDivisionError in line 1"):
            module.load()
    assert set(sys.modules) == before


def test_only_a_module_that_defines_build_builds(tmp_path: Path) -> None:
    assert not found(write_example(tmp_path)).builds()
    assert found(write_own_networks(tmp_path)).builds()
    assert builder(None) is build_model


def test_what_is_neither_path_nor_dotted_name_is_no_module() -> None:
    assert [find_module(given) for given in ("nope", "../launch", "a..b", "a.b c", "")] == [None] * 5
