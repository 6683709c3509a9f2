"""Documentation that is derived from code must be what the code says now, and what people read must be readable."""

import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.store import open_store
from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Integer
from search_spaces.published.families import PRESETS
from tests.markdown import anchors, links, num_words, pages, sentences
from workers.recipe import Recipe
from workers.training.recipes import RECIPES

ROOT = Path(__file__).parent.parent
SPACE = (ROOT / "docs/reference/space.md").read_text(encoding="utf-8")
RECIPE_PAGE = (ROOT / "docs/reference/recipes.md").read_text(encoding="utf-8")
MAX_README_WORDS = 900
MAX_SENTENCE_WORDS = 25
READ_BY_NEWCOMERS = [
    ROOT / "README.md",
    ROOT / "docs/README.md",
    ROOT / "docs/extending.md",
    *sorted((ROOT / "docs/guide").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_drawings_are_those_of_the_code() -> None:
    drawings = runpy.run_path(str(ROOT / "docs/draw_layouts.py"))["drawings"]()
    folder = ROOT / "docs/images/layouts"
    assert {path.stem for path in folder.glob("*.svg")} == set(drawings)
    for name, svg in drawings.items():
        assert (folder / f"{name}.svg").read_text(encoding="utf-8") == svg + "\n", "run docs/draw_layouts.py again"


def test_page_of_commands_is_what_help_says() -> None:
    written = runpy.run_path(str(ROOT / "docs/write_commands.py"))["page"]()
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert page == written, "run docs/write_commands.py again"


@pytest.mark.parametrize("page", pages(ROOT), ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(aim.read_text(encoding="utf-8")), f"{target} has no such heading"


@pytest.mark.parametrize("page", pages(ROOT), ids=name_of)
def test_every_page_can_be_found(page: Path) -> None:
    """From README or the list of pages in docs/README.md."""
    lists = [ROOT / "README.md", ROOT / "docs/README.md"]
    linked = set(lists)
    for start in lists:
        for target in links(start.read_text(encoding="utf-8")):
            linked.add((start.parent / target.partition("#")[0]).resolve())
    assert page in linked or page.parent in linked


def test_every_page_that_the_code_names_is_there() -> None:
    for folder in ("hybrid_nas", "nas", "search_spaces", "workers", "db", "benchmarks", "docs", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for named in re.findall(r"\bdocs/[\w/-]+\.(?:md|py|ipynb)\b", path.read_text(encoding="utf-8")):
                assert (ROOT / named).is_file(), f"{name_of(path)} names {named}"


def test_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("page", READ_BY_NEWCOMERS, ids=name_of)
def test_sentences_are_short(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    long = [f"{num_words(one)} words: {one}" for one in sentences(text) if num_words(one) > MAX_SENTENCE_WORDS]
    assert not long, "\n".join(long)


def test_table_of_presets_has_their_counts() -> None:
    for name, preset in PRESETS.items():
        counted = costs(preset.architecture)
        row = (
            f"| {name} | {counted.param_count:,} | "
            f"{'none' if preset.published_params is None else f'{preset.published_params:,}'} |"
        )
        assert row in SPACE
        assert re.search(rf"\| {name} \|.*\| {counted.macs / 1e9:.3f} \|", SPACE), name


def test_every_mixer_and_knob_is_explained() -> None:
    for name, kind in KINDS.items():
        assert f"\n| {name} |" in SPACE, name
        for knob, values in kind.options.items():
            if isinstance(values, Integer):
                assert re.search(rf"\| ([a-z_]+, )*{knob}(, [a-z_]+)* \| [^|]*(number|odd|divisor)", SPACE), knob
            else:
                assert f"| {knob} | {', '.join(values)} |" in SPACE, knob


def test_every_recipe_and_field_of_one_is_explained() -> None:
    for name in (*RECIPES, *(field.name for field in fields(Recipe))):
        assert f"\n| `{name}` |" in RECIPE_PAGE, name


def test_the_query_of_the_guide_can_be_asked(tmp_path: Path) -> None:
    page = (ROOT / "docs/guide/database.md").read_text(encoding="utf-8")
    queries = re.findall(r"^    SELECT .*?;$", page, flags=re.MULTILINE | re.DOTALL)
    open_store(f"sqlite:///{tmp_path}/nas.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/nas.db")
    with engine.connect() as connection:
        for query in queries:
            assert connection.execute(sa.text(query)).all() == []
    engine.dispose()
    assert queries
