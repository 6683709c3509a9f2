"""The rules of the house that no linter knows: who may import what, where things are documented, what is pinned."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("hybrid_nas", "nas", "search_spaces", "workers", "db")
OWNERS = {
    "click": {"launch.py", "hybrid_nas/commands.py"},
    "matplotlib": {"nas/reports/plots.py"},
    "optuna": {"nas/search/study.py", "nas/samplers/registry.py", "nas/reports/dashboard.py", "hybrid_nas/parts.py"},
    "pandas": {"hybrid_nas/frames.py", "hybrid_nas/study.py"},
    "optuna_dashboard": {"nas/reports/dashboard.py"},
    "ray": {
        "workers/cluster/pool.py",
        "workers/cluster/session.py",
        "workers/cluster/failures.py",
        "workers/finalists/tune.py",
    },
    "rich": {"nas/search/progress.py"},
}
"""Library -> the only files that may import it. What a whole package may import stands in pyproject.toml, for
import-linter."""
NETWORK_FILES = (
    "search_spaces/network/mixers/*.py",
    "search_spaces/network/blocks.py",
    "search_spaces/network/backbone.py",
    "search_spaces/network/entrypoint.py",
)
NETWORK_IMPORTS = {
    "torch",
    "timm",
    "search_spaces.network.mixers",
    "search_spaces.network.blocks",
    "search_spaces.network.backbone",
}
"""A zoo entry takes the network files along, to where nothing else of ours is installed."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def sources() -> list[Path]:
    """Every Python file of the packages, and launch.py."""
    return [ROOT / "launch.py", *(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))]


def imports(path: Path) -> Iterator[str]:
    """Dotted names of the imported modules, those inside functions included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_stays_with_its_owner(library: str) -> None:
    users = {name_of(path) for path in sources() for module in imports(path) if module.split(".")[0] == library}
    assert users, f"nothing imports {library} any more; take it out of OWNERS and pyproject.toml"
    assert users <= OWNERS[library]


def test_network_files_stand_on_torch_and_timm_alone() -> None:
    allowed = NETWORK_IMPORTS | sys.stdlib_module_names
    for path in (path for pattern in NETWORK_FILES for path in ROOT.glob(pattern)):
        strangers = [
            module
            for module in imports(path)
            if not {module, module.rpartition(".")[0], module.split(".")[0]} & allowed
        ]
        assert strangers == [], name_of(path)


def test_nothing_imports_the_command_line() -> None:
    assert [name_of(path) for path in sources() if "launch" in imports(path)] == []


def test_the_console_script_is_the_command_line() -> None:
    import launch

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"hybrid-nas": "launch:main"}
    assert callable(launch.main)


def test_the_parts_of_the_loop_meet_in_one_place() -> None:
    found = []
    for path in (*sources(), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests").rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Search":
                found.append(name_of(path))
    assert found == ["nas/search/establish.py"]


def test_init_files_hold_a_docstring_and_nothing_else() -> None:
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")):
        body = tree(path).body
        assert len(body) == 1 and ast.get_docstring(tree(path)), name_of(path)


def test_tests_are_no_package() -> None:
    # tests/db/__init__.py would make `import db` find the tests.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_config_field_is_documented() -> None:
    configs = [
        node
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Recipe"))
    ]
    assert "SearchConfig" in {config.name for config in configs}
    for config in configs:
        for field, after in zip(config.body, [*config.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                documented = (
                    isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                    and isinstance(after.value.value, str)
                )
                assert documented, f"{config.name}.{ast.unparse(field.target)} has no docstring below it"


@cache
def commands() -> dict[str, set[str]]:
    """Command ("" for the search itself) -> its long options."""
    import launch

    found = {"": launch.cli, **launch.cli.commands}
    return {
        name: {
            option
            for parameter in command.params
            if isinstance(parameter, click.Option)
            for option in parameter.opts
            if option[:2] == "--"
        }
        for name, command in found.items()
    }


def test_every_command_and_option_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command, options in commands().items():
        assert not command or f"`{command}`" in readme, f"README.md does not explain the command {command}"
        for option in options:
            assert re.search(rf"{option}(?![\w-])", readme), (
                f"README.md does not explain {option} of launch.py {command}"
            )


def test_every_command_line_in_the_docs_can_be_typed() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"launch\.py[^\n`|]*", text):
            words = line.split()[1:]
            command = words[0] if words and words[0] in commands() else ""
            unknown = {word.split("=")[0] for word in words if word.startswith("--")} - commands()[command] - {"--help"}
            assert not unknown, f"{name_of(page)}: {line}"


@cache
def project() -> dict[str, list[Requirement]]:
    """Extra ("" for what is always installed) -> requirements."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": table["dependencies"], **table["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in lists.items()}


def test_every_imported_library_is_declared() -> None:
    declared = {
        canonicalize_name(requirement.name) for requirements in project().values() for requirement in requirements
    }
    owners = importlib.metadata.packages_distributions()
    known = {*sys.stdlib_module_names, *PACKAGES, "launch"}
    for path in sources():
        for library in {module.split(".")[0] for module in imports(path)} - known:
            distributions = {canonicalize_name(name) for name in owners.get(library, [library])}
            assert distributions & declared, f"{name_of(path)} imports {library}, which pyproject.toml does not name"


def test_the_lock_pins_every_dependency_within_its_range() -> None:
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    for requirement in (requirement for requirements in project().values() for requirement in requirements):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (
            f"{requirement} against the lock"
        )
