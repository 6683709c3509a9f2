"""Entries of a zoo are what its index says, or are refused."""

import json
from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from search_spaces.zoo.export import export_model
from search_spaces.zoo.proof import check_entry
from tests.zoo_entries import architecture, card_of, trained, weights_of


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    arch = architecture()
    return export_model(
        zoo=tmp_path, name="first", spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_of(arch)
    )


def test_an_entry_as_it_was_exported_is_taken_whatever_people_write_on_its_card(entry: Path) -> None:
    (entry / "README.md").write_text("my best one")
    check_entry(entry)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_an_altered_byte_is_refused(entry: Path, name: str) -> None:
    content = bytearray((entry / name).read_bytes())
    content[-2] ^= 1
    (entry / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"first/{name} is not the file that was exported.*--overwrite"):
        check_entry(entry)


def test_an_altered_byte_is_refused_in_an_entry_that_has_left_its_zoo(entry: Path, tmp_path: Path) -> None:
    moved = entry.rename(tmp_path / "renamed")
    check_entry(moved)
    file = moved / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"renamed/model\.safetensors is not the file that was exported"):
        check_entry(moved)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_weights_do_not_stand_in_for_a_file_that_is_gone(entry: Path, name: str) -> None:
    (entry / name).rename(entry / "pytorch_model.bin")  # which timm takes where there is no model.safetensors
    with pytest.raises(InvalidInputError, match=rf"first/{name} was exported and is gone.*--overwrite"):
        check_entry(entry)


@pytest.mark.parametrize("index", [None, "[]", "{", json.dumps({"models": []}), json.dumps({"models": [{}]})])
def test_a_folder_that_no_index_names_is_taken_as_it_is(tmp_path: Path, index: str | None) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"weights of somebody else")
    if index is not None:
        (tmp_path / "index.json").write_text(index)
    check_entry(tmp_path / "other")
