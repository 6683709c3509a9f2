"""The reader of Markdown that the tests of the documentation rest on."""

import pytest

from tests.markdown import anchors, code, links, num_words, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two.", ["One.", "Two."]),
        ("It takes 1.5 ms. Then it ends.", ["It takes 1.5 ms.", "Then it ends."]),
        ("A paragraph\nover two lines\n\nAnother", ["A paragraph over two lines", "Another"]),
        ("Two kinds:\n- first\n- second\n  goes on", ["Two kinds:", "first", "second goes on"]),
        ("1. Do this. Then that.\n2. Stop.", ["Do this.", "Then that.", "Stop."]),
        ("# Title. With a point\nText.", ["Text."]),
        ("Before.\n```\nnot. This.\n```\nAfter.", ["Before.", "After."]),
        ("Before:\n\n    code. Block.\n\nAfter.", ["Before:", "After."]),
        ("| a. B | c |\n|---|---|\nText.", ["Text."]),
        ("See [the page](a.md#b). It helps.", ["See the page.", "It helps."]),
        ("Deb et al. 2002 say so, e.g. A is B.", ["Deb et al. 2002 say so, e.g. A is B."]),
        ("Run `launch.py pareto --csv`. `status` says more.", ["Run Code.", "Code says more."]),
        ("(In brackets.) **Bold.** Plain.", ["(In brackets", "Bold", "Plain."]),
        ("![a picture. Of it](b.png)\n\nText.", ["Text."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    found = [sentence.rstrip(".)*") for sentence in sentences(text)]
    assert found == [sentence.rstrip(".)*") for sentence in expected]


def test_words_are_counted_as_a_reader_counts_them() -> None:
    assert num_words("top1 is - at most - 25 words, e.g. here") == 8


def test_code_is_blocks_and_spans() -> None:
    text = "Use `a --b` here.\n\n```console\n$ one \\\n  two\n```\n\n    three\n"
    assert code(text) == ["$ one    two", "three", "a --b"]


def test_links_leave_code_out() -> None:
    assert links("[a](b.md#c) `[d](e)`\n```\n[f](g)\n```\n[`h`](i.md)") == ["b.md#c", "i.md"]


def test_anchors_are_those_of_github() -> None:
    text = "# A title: with `code`, and more\n## Same\n## Same\n```\n# no heading\n```"
    assert anchors(text) == {"a-title-with-code-and-more", "same", "same-1"}
