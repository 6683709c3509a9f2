"""What the tests of the documentation read from a page of Markdown: its sentences, its code, its links and anchors."""

import re
from collections.abc import Iterator
from pathlib import Path

FENCE = re.compile(r"^ {0,3}(```|~~~)")
ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s+")
LINK = re.compile(r"!?\[((?:[^]\[]|\[[^]]*\])*)\]\(([^()\s]+)\)")
CODE_SPAN = re.compile(r"(`+)(.+?)\1")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”)*_]*\s+(?=[\"'“(*_]*[A-Z0-9`])")
ABBREVIATIONS = ("e.g.", "i.e.", "et al.", "vs.", "cf.", "Fig.", "approx.", "No.")
"""Their point ends no sentence."""
HIDDEN_POINT = "\u2024"


def sentences(text: str) -> list[str]:
    """The sentences of all paragraphs and list items, in order, each on one line.

    Code blocks, tables, headings, pictures and comments are left out. A code span counts as one word, a link as its
    words. A colon ends no sentence; the end of a paragraph or of a list item does.
    """
    found = []
    for block in _blocks(text):
        plain = _without_markup(block)
        for abbreviation in ABBREVIATIONS:
            plain = plain.replace(abbreviation, abbreviation.replace(".", HIDDEN_POINT))
        parts = SENTENCE_END.split(plain)
        found += [part.replace(HIDDEN_POINT, ".").strip() for part in parts if part.strip()]
    return found


def num_words(sentence: str) -> int:
    """Words with a letter or a digit in them; what stands between two blanks is one word."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def code(text: str) -> list[str]:
    """The lines of code blocks, joined where a backslash continues them, and the code spans."""
    lines = []
    prose = []
    is_fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if FENCE.match(line):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            lines.append(line.strip())
        else:
            prose.append(line)
    return lines + [match[1] for match in CODE_SPAN.findall("\n".join(prose))]


def links(text: str) -> list[str]:
    """The targets of all links and pictures, code left out."""
    return [target for _, target in LINK.findall(CODE_SPAN.sub("", _without_fences(text)))]


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for line in _without_fences(text).splitlines():
        if not re.match(r"^#{1,6} ", line):
            continue
        title = LINK.sub(r"\1", line.lstrip("#").strip()).lower()
        anchor = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        number = 0
        name = anchor
        while name in found:
            number += 1
            name = f"{anchor}-{number}"
        found.add(name)
    return found


def pages(root: Path) -> list[Path]:
    """README, CONTRIBUTING, CHANGELOG and every page of docs/."""
    top = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((root / "docs").rglob("*.md"))]


def _without_fences(text: str) -> str:
    kept = []
    is_fenced = False
    for line in text.splitlines():
        if FENCE.match(line):
            is_fenced = not is_fenced
        elif not is_fenced:
            kept.append(line)
    return "\n".join(kept)


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items, their lines joined."""
    lines: list[str] = []
    in_list = False
    text = re.sub(r"<!--.*?-->", "", _without_fences(text), flags=re.DOTALL)
    for line in (*text.splitlines(), ""):
        is_item = ITEM.match(line) is not None
        is_code = line.startswith("    ") and not lines and not in_list
        if not line.strip() or is_item or is_code or line.lstrip().startswith(("|", "#")):
            if lines:
                yield " ".join(lines)
            lines = []
        if is_item:
            in_list = True
            lines = [ITEM.sub("", line)]
        elif line.strip() and not is_code and not line.lstrip().startswith(("|", "#")):
            in_list = in_list and line.startswith(" ")
            lines.append(line.strip())


def _without_markup(block: str) -> str:
    plain = CODE_SPAN.sub("Code", block)
    plain = re.sub(r"!\[[^]]*\]\([^)]*\)", "", plain)
    plain = LINK.sub(r"\1", plain)
    return re.sub(r"\*\*|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)", "", plain)
