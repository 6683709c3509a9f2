"""Spaces that have a name: ours, and those of installed packages, of which a broken one hides no other."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_nas.service.api.meta import _other
from tests.own_spaces import write_example

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as an installer leaves it, with a space that works and one that does not."""
    package = tmp_path / "package_with_spaces"
    package.mkdir()
    (package / "__init__.py").touch()
    write_example(package)
    (package / "broken.py").write_text('raise RuntimeError("no such crystal")\n', encoding="utf-8")
    information = tmp_path / "package_with_spaces-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: package-with-spaces\nVersion: 1.0\n")
    points = "my_space = package_with_spaces.mine\nbroken = package_with_spaces.broken\n"
    (information / "entry_points.txt").write_text(f"[hybrid_nas.spaces]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_list_has_installed_spaces_too(run_command: Command) -> None:
    code, listed, errors = run_command("spaces")
    assert (code, errors) == (0, "")
    for name in ("conv_only", "hybrid_layout", "my_space"):
        assert f"{name}, scale nano: " in listed
    assert "the installed space 'broken' is left out: the space of package_with_spaces.broken raises RuntimeError" in (
        listed
    )
    assert "my_space" not in run_command("spaces", "--mixers", "core")[1], "only ours offer a choice of mixers"


def test_the_one_that_is_asked_for_is_refused_if_it_is_broken(run_command: Command) -> None:
    code, _, errors = run_command("spaces", "--space", "broken")
    assert (code, "no such crystal" in errors, errors.count("\n")) == (2, True, 1)


def test_the_service_says_which_one_is_broken() -> None:
    assert [gene["name"] for gene in _other("my_space", "nano", "digits")["genes"]] == ["width", "depth", "attention"]
    assert "no such crystal" in _other("broken", "nano", "digits")["problem"]
