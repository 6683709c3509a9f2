import ast
import re
import sys
from pathlib import Path

import pytest
import torch

from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.used import used_parts
from search_spaces.build import build_model
from search_spaces.network.parts import find_part
from search_spaces.published.families import PRESETS
from search_spaces.zoo import bundle
from tests.zoo_entries import every_part, load_module

SPEC = PRESETS["convnext_tiny"].architecture.to_spec()
OTHER = PRESETS["groupmixformer_tiny"].architecture.to_spec()


@pytest.fixture(scope="module")
def source() -> str:
    """All parts in one, which no entry has."""
    return bundle._body(every_part())


def test_nothing_of_this_project_is_imported(source: str) -> None:
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            roots |= {name.name.split(".")[0] for name in node.names}
    assert roots <= {"torch", "timm", *sys.stdlib_module_names}


def test_every_name_is_defined_once_and_before_its_use_at_import(source: str) -> None:
    tree = ast.parse(source)
    names = list(bundle._top_level_names(tree))
    assert len(names) == len(set(names))
    assert {
        "HybridBackbone",
        "PARTS",
        *(find_part("mixers", name).__name__ for name in KINDS),
    } <= set(names)
    compile(source, "hybrid_backbone.py", "exec")


def test_the_name_of_the_module_follows_from_its_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle.module_name(SPEC)
    monkeypatch.setattr(bundle, "HEADER", bundle.HEADER + "# changed")
    assert re.fullmatch(r"hybrid_backbone_[0-9a-f]{8}", before) and before != bundle.module_name(SPEC)


def test_a_module_carries_the_parts_of_its_network_alone() -> None:
    assert used_parts(SPEC) == (
        "downsamples.none",
        "downsamples.patchify",
        "heads.layer",
        "mixers.dwconv",
        "stems.patchify",
    )
    text = bundle.bundle_source(SPEC)
    carried = {part for part in every_part() if f"network/{part.replace('.', '/')}.py" in text}
    assert carried == set(used_parts(SPEC))


def test_networks_of_the_same_parts_share_a_module() -> None:
    larger = PRESETS["convnext_small"].architecture.to_spec()
    assert bundle.module_name(SPEC) == bundle.module_name(larger) != bundle.module_name(OTHER)
    assert bundle.bundle_source(SPEC) == bundle.bundle_source(larger)


def test_every_preset_is_built_by_the_module_of_its_entry(tmp_path: Path) -> None:
    specs = {bundle.module_name(spec): spec for spec in (preset.architecture.to_spec() for preset in PRESETS.values())}
    for name, spec in specs.items():
        with torch.device("meta"):
            built = load_module(tmp_path, name, bundle.bundle_source(spec)).HybridBackbone(spec)
            assert built.state_dict().keys() == build_model(spec).state_dict().keys()


def test_a_module_without_a_part_that_is_asked_for_says_what_it_has(tmp_path: Path) -> None:
    module = load_module(tmp_path, bundle.module_name(SPEC), bundle.bundle_source(SPEC))
    with pytest.raises(
        ValueError,
        match=r"this network needs stems\.conv, and hybrid_backbone_\w{8} has downsamples\.none, "
        r"downsamples\.patchify, heads\.layer, mixers\.dwconv, stems\.patchify; import the module that "
        r"\"architecture\" in the config\.json of its own entry names",
    ):
        module.HybridBackbone(OTHER)


def test_the_door_stands_in_front_of_the_networks() -> None:
    compile(bundle.door_source(SPEC), "hybrid_backbone.py", "exec")
    assert f"\nfrom {bundle.module_name(SPEC)} import HybridBackbone, " in bundle.door_source(SPEC)


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
    assert bundle._body(every_part()) == source


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
