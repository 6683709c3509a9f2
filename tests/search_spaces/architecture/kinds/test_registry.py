"""Mixers are found by their files; their order, on which recorded spaces hang, is not that of the files."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces.architecture import kinds
from search_spaces.architecture.kinds.kind import ATTENTION, CONV
from search_spaces.architecture.kinds.registry import KINDS, find_mixers, names

ORDER = ("mbconv", "dwconv", "key_only", "group_mix", "full", "channel_group", "lka")
"""The mixers of the first studies, as their space hashes have them."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One more folder of kinds."""
    before = set(sys.modules)
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path)])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write_kind(folder: Path, name: str, rank: int) -> None:
    text = (Path(kinds.__path__[0]) / "lka.py").read_text(encoding="utf-8")
    assert f"rank={KINDS['lka'].rank}," in text
    (folder / f"{name}.py").write_text(text.replace(f"rank={KINDS['lka'].rank},", f"rank={rank},"), encoding="utf-8")


def test_the_order_of_recorded_spaces_stays() -> None:
    assert tuple(KINDS)[: len(ORDER)] == ORDER
    assert names(CONV)[:2] == ORDER[:2]
    assert names(ATTENTION)[:5] == ORDER[2:]


def test_a_new_file_is_a_new_mixer_behind_the_others(folder: Path) -> None:
    write_kind(folder, "a_first_by_name", rank=1000)
    assert list(find_mixers()) == [*KINDS, "a_first_by_name"]


def test_two_mixers_of_one_rank_are_noticed(folder: Path) -> None:
    write_kind(folder, "another", rank=KINDS["full"].rank)
    with pytest.raises(AssertionError, match="another and full have the rank 4; give the newer one another"):
        find_mixers()
