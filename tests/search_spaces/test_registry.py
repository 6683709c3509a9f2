"""Spaces are found by their file; a name that is none lists what there is."""

from pathlib import Path

import pytest

from nas.errors import InvalidInputError
from search_spaces import registry


def test_known_spaces() -> None:
    assert registry.space_names() == ("conv_only", "hybrid_layout")
    for name in registry.space_names():
        space = registry.make_space(name, "nano", 32, 1, 10)
        assert (space.name, space.scale) == (name, "nano")


def test_unknown_name_lists_the_known_ones() -> None:
    for name in ("nope", "../launch", "costs", ""):
        with pytest.raises(
            InvalidInputError, match=f"unknown space '{name}'; expected one of conv_only, hybrid_layout"
        ):
            registry.make_space(name, "nano", 32, 1, 10)


def test_one_new_file_is_a_new_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(registry.__file__).parent
    for module in ("conv_only.py", "costs.py"):
        (tmp_path / module).write_text((package / module).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "conv_only.py").rename(tmp_path / "another.py")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    assert registry.space_names() == ("another",)
