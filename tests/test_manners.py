"""How sources are written, as far as a syntax tree can tell (CONTRIBUTING.md, "Manners")."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("hybrid_nas", "nas", "workers", "search_spaces", "db", "benchmarks")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
Found = Iterator[tuple[int, str]]
"""(line, what stands there), for each place that breaks a manner."""


@cache
def sources() -> dict[str, ast.Module]:
    """Name -> syntax tree of every file but tests."""
    files = [ROOT / "launch.py"]
    for folder in FOLDERS:
        files += sorted((ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def test_the_command_line_stays_short() -> None:
    assert len((ROOT / "launch.py").read_text(encoding="utf-8").splitlines()) <= 450, "move bodies to hybrid_nas/"


def nested_comprehensions(tree: ast.Module) -> Found:
    """A comprehension with two `for`, or with another one inside: a loop or a helper with a name reads better."""
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS) and (len(node.generators) > 1 or _has_inside(node, COMPREHENSIONS)):
            yield node.lineno, ast.unparse(node)


def nested_conditionals(tree: ast.Module) -> Found:
    """A conditional expression within another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp) and _has_inside(node, (ast.IfExp,)):
            yield node.lineno, ast.unparse(node)


def packed_assignments(tree: ast.Module) -> Found:
    """Two assignments in one line, `a, b = 1, 2`; a swap of the same names is none."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple | ast.List):
            continue
        values = {ast.unparse(element) for element in node.value.elts}
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List) and {ast.unparse(name) for name in target.elts} != values:
                yield node.lineno, ast.unparse(node)


def docstrings_without_subject(tree: ast.Module) -> Found:
    """A docstring of a field, or of anything public, that begins with "Of" or "Its": of what, the reader must guess."""
    for line, text in (*_field_docstrings(tree), *_public_docstrings(tree)):
        if text.split()[:1] and text.split()[0] in ("Of", "Its"):
            yield line, text.splitlines()[0]


def _has_inside(node: ast.AST, kinds: tuple[type[ast.AST], ...]) -> bool:
    return any(isinstance(inner, kinds) for inner in ast.walk(node) if inner is not node)


def _field_docstrings(tree: ast.Module) -> Found:
    """Texts that stand right below an assignment."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for field, after in pairwise(body):
            if isinstance(field, ast.Assign | ast.AnnAssign) and _is_text(after):
                yield after.lineno, after.value.value


def _public_docstrings(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        is_public = isinstance(node, DEFINITIONS) and not node.name.startswith("_")
        if is_public or isinstance(node, ast.Module):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text


def _is_text(node: ast.stmt) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)


MANNERS = (nested_comprehensions, nested_conditionals, packed_assignments, docstrings_without_subject)
Manner = Callable[[ast.Module], Found]


@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
def test_sources_keep(manner: Manner) -> None:
    found = []
    for name, tree in sources().items():
        found += [f"{name}:{line}: {' '.join(text.split())[:100]}" for line, text in manner(tree)]
    assert not found, f"{len(found)} places\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("manner", "refused"),
    [
        (nested_comprehensions, "x = [a for b in c for a in b]"),
        (nested_comprehensions, "x = {k: [v for v in vs] for k, vs in d}"),
        (nested_comprehensions, "x = sum(f(y for y in z) for z in q)"),
        (nested_conditionals, "x = 1 if a else 2 if b else 3"),
        (nested_conditionals, "x = f(1 if a else 2) if b else 3"),
        (packed_assignments, "a, b = 1, 2"),
        (packed_assignments, "a, b = b, a + b"),
        (packed_assignments, "[a, b] = [f(), g()]"),
        (docstrings_without_subject, 'class A:\n    b: int\n    """Of the batch."""'),
        (docstrings_without_subject, 'B = 1\n"""Its length."""'),
        (docstrings_without_subject, 'class A:\n    def __init__(self):\n        self.b = 1\n        """Of it."""'),
        (docstrings_without_subject, 'def f():\n    """Of a candidate: its cost."""'),
        (docstrings_without_subject, '"""Of the module."""'),
    ],
)
def test_what_is_refused(manner: Manner, refused: str) -> None:
    assert len(list(manner(ast.parse(refused)))) == 1


@pytest.mark.parametrize(
    ("manner", "allowed"),
    [
        (nested_comprehensions, "x = [f(a) for a in b if a]"),
        (nested_comprehensions, "x = [f(a) for a in b] + [g(a) for a in b]"),
        (nested_conditionals, "x = (1 if a else 2) + (3 if b else 4)"),
        (packed_assignments, "a, b = b, a"),
        (packed_assignments, "a, b = f()"),
        (packed_assignments, "a = 1, 2"),
        (packed_assignments, "x[i], x[j] = x[j], x[i]"),
        (docstrings_without_subject, 'def _f():\n    """Of a candidate."""'),
        (docstrings_without_subject, 'class A:\n    b: int\n    """Office hours."""'),
        (docstrings_without_subject, 'B = 1\nprint("Of it")'),
    ],
)
def test_what_is_allowed(manner: Manner, allowed: str) -> None:
    assert list(manner(ast.parse(allowed))) == []
