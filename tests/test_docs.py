"""Documentation that is derived from code must be what the code says now."""

import re
import runpy
from pathlib import Path

from search_spaces.architecture.costs import costs
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.published.families import PRESETS

ROOT = Path(__file__).parent.parent
SPACE = (ROOT / "docs/space.md").read_text(encoding="utf-8")


def test_drawings_are_those_of_the_code() -> None:
    drawings = runpy.run_path(str(ROOT / "docs/draw_layouts.py"))["drawings"]()
    folder = ROOT / "docs/images/layouts"
    assert {path.stem for path in folder.glob("*.svg")} == set(drawings)
    for name, svg in drawings.items():
        assert (folder / f"{name}.svg").read_text(encoding="utf-8") == svg + "\n", "run docs/draw_layouts.py again"


def test_every_picture_of_the_docs_exists() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


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
        for knob, values in (kind.options or {}).items():
            assert f"| {knob} | {', '.join(values)} |" in SPACE
