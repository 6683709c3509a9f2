import ast
import re
from pathlib import Path

import pytest

from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.network.parts import find_part
from search_spaces.zoo import bundle


@pytest.fixture(scope="module")
def source() -> str:
    return bundle.bundle_source()


def test_nothing_of_this_project_is_imported(source: str) -> None:
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            roots |= {name.name.split(".")[0] for name in node.names}
    assert roots <= {"torch", "timm", "math", "functools", "typing", "collections", "importlib", "platform", "re"}


def test_every_name_is_defined_once_and_before_its_use_at_import(source: str) -> None:
    tree = ast.parse(source)
    names = list(bundle._top_level_names(tree))
    assert len(names) == len(set(names))
    assert {
        "HybridBackbone",
        bundle.module_name(),
        "PARTS",
        *(find_part("mixers", name).__name__ for name in KINDS),
    } <= set(names)
    compile(source, "hybrid_backbone.py", "exec")


def test_the_name_of_the_module_follows_from_its_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle.module_name()
    monkeypatch.setattr(bundle, "HEADER", bundle.HEADER + "# changed")
    assert re.fullmatch(r"hybrid_backbone_[0-9a-f]{8}", before) and before != bundle.module_name()


def test_the_door_stands_in_front_of_the_networks() -> None:
    compile(bundle.door_source(), "hybrid_backbone.py", "exec")
    assert f"\nfrom {bundle.module_name()} import HybridBackbone, " in bundle.door_source()


def test_imports_stand_once_above_the_code(source: str) -> None:
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert len(imports) == len(set(imports))
    assert source.rindex(imports[-1]) < source.index("\nclass ")


def test_comments_and_docstrings_of_the_files_are_kept(source: str) -> None:
    package = Path(bundle.__file__).parents[1] / "network"
    for file in ("backbone.py", "blocks.py", "mixers/group_mix.py"):
        tree = ast.parse((package / file).read_text())
        assert (
            f"# ---------- search_spaces/network/{file}\n# {(ast.get_docstring(tree) or '').splitlines()[0]}" in source
        )
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                assert (ast.get_docstring(node, clean=False) or "") in source


def test_it_is_the_same_every_time(source: str) -> None:
    bundle._body.cache_clear()
    assert bundle.bundle_source() == source


def test_a_file_comes_once_and_behind_what_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "search_spaces.top": "from search_spaces.left import l\nfrom search_spaces.right import r",
        "search_spaces.left": "from search_spaces.base import b",
        "search_spaces.right": "import math\nfrom search_spaces.base import b",
        "search_spaces.base": "b = 1",
    }
    monkeypatch.setattr(bundle, "_source", files.__getitem__)
    order: list[str] = []
    bundle._visit("search_spaces.top", order)
    assert order == ["search_spaces.base", "search_spaces.left", "search_spaces.right", "search_spaces.top"]


def test_two_files_that_define_one_name_are_noticed() -> None:
    trees = {"search_spaces.a": ast.parse("class Block: ..."), "search_spaces.b": ast.parse("x = 1\nBlock: int = 2")}
    with pytest.raises(
        AssertionError, match=r"Block is defined in search_spaces\.a and in search_spaces\.b; rename one"
    ):
        bundle._require_distinct_names(trees)
