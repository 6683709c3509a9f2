"""One module from many: the files that a network is made of in order of dependency, so that a zoo entry needs no
installation of this project.

The module has its contents in its name, and timm knows its networks by that name. So entries of any networks and
versions load beside each other, and those of one version and the same parts share a module.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from nas.records import JSON
from search_spaces.architecture.used import used_parts
from search_spaces.network.versions import OLDEST

PACKAGE = "search_spaces"
NETWORK = f"{PACKAGE}.network"
FIRST = f"{NETWORK}.versions"
"""Runs before anything is imported that an older timm lacks."""
ROOT = f"{NETWORK}.entrypoint"
DOOR = "hybrid_backbone"
"""The module of every entry that people import; it imports the one with the networks."""
NEEDS = ", ".join(f"{name} {version}" for name, version in OLDEST.items())

HEADER = f'''"""Networks of hybrid-nas for timm. Importing this module registers them as %(module)s.

It needs {NEEDS}, or newer versions.
It is generated from those files of hybrid-nas that the network of its entry needs; their names stand above their parts.
Licence: Apache-2.0.
"""
'''
REGISTRATION = '''# ---------- the name in timm's registry

default_cfgs = timm.models.generate_default_cfgs({"%(module)s": ADAPTED_LAYERS})


@timm.models.register_model
def %(module)s(pretrained: bool = False, **kwargs: Any) -> HybridBackbone:
    """The network of the spec in `kwargs`; arguments and errors are those of build_hybrid_backbone."""
    return build_hybrid_backbone("%(module)s", pretrained, **kwargs)
'''
DOOR_TEXT = f'''"""The architecture of this model for timm. Importing this module registers it:

    import sys, timm
    sys.path.insert(0, "FOLDER")  # the folder of this file
    import hybrid_backbone
    model = timm.create_model("local-dir:FOLDER", pretrained=True)

It needs {NEEDS}, or newer versions.
For several models in one process import, for each, the module that "architecture" in its config.json names.
"""

import os
import sys

if os.path.dirname(__file__) not in sys.path:
    sys.path.append(os.path.dirname(__file__))  # for those who loaded this very file
from %(module)s import HybridBackbone, %(module)s  # noqa: E402, F401
'''


def module_name(spec: JSON) -> str:
    """Name of the module with the network of a spec, and of this in timm's registry: it changes with the contents."""
    return f"{DOOR}_{hashlib.sha256((HEADER + _body(used_parts(spec)) + REGISTRATION).encode()).hexdigest()[:8]}"


def bundle_source(spec: JSON) -> str:
    """Source text of the module with the network of a spec: the same for all specs of the same parts."""
    name = {"module": module_name(spec)}
    return "\n".join([HEADER % name, _body(used_parts(spec)), REGISTRATION % name])


def door_source(spec: JSON) -> str:
    """Source text of the module that people import."""
    return DOOR_TEXT % {"module": module_name(spec)}


@cache
def _body(parts: tuple[str, ...]) -> str:
    """The files of these parts and of the backbone, in order.

    Comments and docstrings are kept, imports are gathered at the top, a file's docstring becomes a comment above its
    part.
    """
    order: list[str] = []
    for module in (*(f"{NETWORK}.{part}" for part in parts), ROOT):
        _visit(module, order)
    trees = {module: ast.parse(_source(module)) for module in order}
    first = ast.parse(_source(FIRST))
    _require_distinct_names({FIRST: first, **trees})
    imports_of_first = _external_imports([first])
    imports = [line for line in _external_imports(trees.values()) if line not in imports_of_first]
    texts = [_part(module, trees[module]) for module in order]
    return "\n".join([*imports_of_first, "", _part(FIRST, first), *imports, "", *texts])


def _source(module: str) -> str:
    path = Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path.read_text(encoding="utf-8")


def _visit(module: str, order: list[str]) -> None:
    """Append the module to `order`, behind what it imports. Python has refused cycles of `from` imports already."""
    if module in order:
        return
    for node in _imports(ast.parse(_source(module))):
        if _is_ours(node):
            assert isinstance(node, ast.ImportFrom) and node.module and not any(name.asname for name in node.names), (
                ast.unparse(node)
            )
            _visit(node.module, order)
    order.append(module)


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))


def _is_ours(node: ast.Import | ast.ImportFrom) -> bool:
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
    return any(module.split(".")[0] == PACKAGE for module in modules)


def _external_imports(trees: Iterable[ast.Module]) -> list[str]:
    """Every import statement of torch, timm and the standard library once, one name per line."""
    lines = set()
    for tree in trees:
        for node in _imports(tree):
            if not _is_ours(node):
                prefix = f"from {node.module} import" if isinstance(node, ast.ImportFrom) else "import"
                lines |= {f"{prefix} {ast.unparse(name)}" for name in node.names}
    return sorted(
        lines, key=lambda line: (line.split()[1].split(".")[0] in ("torch", "timm"), line.split()[0] == "from", line)
    )


def _part(module: str, tree: ast.Module) -> str:
    """The text of a file without its imports, its docstring as a comment."""
    lines = _source(module).splitlines()
    head: list[ast.stmt] = list(_imports(tree))
    docstring = ast.get_docstring(tree)
    if docstring is not None:
        head.append(tree.body[0])
    dropped: set[int] = set()
    for node in head:
        dropped |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    body = "\n".join(line for number, line in enumerate(lines, start=1) if number not in dropped).strip("\n")
    comment = "\n".join(f"# {line}".rstrip() for line in (docstring or "").splitlines())
    return f"# {'-' * 10} {module.replace('.', '/')}.py\n{comment}\n\n\n{body}\n\n"


def _require_distinct_names(trees: dict[str, ast.Module]) -> None:
    owners: dict[str, str] = {}
    for module, tree in trees.items():
        for name in _top_level_names(tree):
            assert owners.setdefault(name, module) == module, (
                f"{name} is defined in {owners[name]} and in {module}; rename one"
            )


def _top_level_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
