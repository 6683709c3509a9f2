"""The name that a study has by default, whatever it is made of."""

import pytest

from nas.config import SearchConfig, default_study


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("hybrid_layout", "nano", "digits"), "hybrid_layout-nano-digits"),
        (("größe", "nano", "folder-a b"), "größe-nano-folder-a b"),
        (("a/b\\c", "na\nno", "\x1b\udcff\u202e"), "a-b-c-na-no----"),
    ],
)
def test_a_default_name_says_what_is_searched(parts: tuple[str, str, str], expected: str) -> None:
    assert default_study(*parts) == expected


def test_every_default_name_is_one_that_a_study_can_have() -> None:
    names = [default_study(text, "nano", data) for text in ("", ".", "数" * 90, "x" * 300, "\0") for data in ("a", "b")]
    assert len(set(names)) == len(names), "long names stay apart"
    for name in names:
        SearchConfig(space="s", budget=1, study=name, storage="sqlite:///x.db", artifacts="a")
