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

from tests.markdown import code, pages

ROOT = Path(__file__).parent.parent
PACKAGES = ("hybrid_nas", "nas", "search_spaces", "workers", "db")
FOLDERS = (*PACKAGES, "benchmarks", "docs", "tests")
PAGES = pages(ROOT)
OWNERS = {
    "click": {
        "launch.py",
        "hybrid_nas/asking.py",
        "hybrid_nas/bundling.py",
        "hybrid_nas/commands.py",
        "hybrid_nas/options.py",
        "hybrid_nas/outcomes.py",
        "hybrid_nas/service/commands.py",
    },
    "matplotlib": {"nas/reports/plots.py"},
    "optuna": {
        "nas/search/study.py",
        "nas/samplers/registry.py",
        "nas/samplers/ehvi_sampler.py",
        "nas/reports/dashboard.py",
        "hybrid_nas/parts.py",
    },
    "pandas": {"hybrid_nas/frames.py", "hybrid_nas/study.py"},
    "optuna_dashboard": {"nas/reports/dashboard.py"},
    "ray": {
        "workers/cluster/pool.py",
        "workers/cluster/session.py",
        "workers/cluster/failures.py",
        "workers/cluster/joining.py",
        "workers/cluster/looking.py",
        "workers/cluster/nodes.py",
        "workers/finalists/tune.py",
    },
    "rich": {"nas/search/progress.py"},
}
"""Library -> the only files that may import it. What a whole package may import stands in pyproject.toml, for
import-linter."""
NETWORK = "search_spaces.network"
"""A zoo entry takes the files of this folder along, to where nothing else of ours is installed."""


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
    allowed = {"torch", "timm"} | sys.stdlib_module_names
    files = list(ROOT.joinpath(*NETWORK.split(".")).rglob("*.py"))
    assert len(files) > 10
    for path in files:
        others = [module for module in imports(path) if not module.startswith(f"{NETWORK}.")]
        assert [module for module in others if module.split(".")[0] not in allowed] == [], name_of(path)


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

    context = click.Context(launch.cli, info_name="launch.py")
    found = {"": launch.cli.params}
    for name in launch.cli.list_commands(context):
        command = launch.cli.get_command(context, name)
        assert command is not None, f"{name} is listed and not there"
        found[name] = command.get_params(click.Context(command, parent=context))
        for part in command.commands.values() if isinstance(command, click.Group) else ():
            found[name] = [*found[name], *part.params]
    return {name: _long_options(parameters) for name, parameters in found.items()}


def _long_options(parameters: list[click.Parameter]) -> set[str]:
    options = [parameter for parameter in parameters if isinstance(parameter, click.Option)]
    names = {"--help"}
    for option in options:
        names |= {name for name in option.opts if name.startswith("--")}
    return names


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_in_the_docs_can_be_typed(page: Path) -> None:
    for line in code(page.read_text(encoding="utf-8")):
        for typed in re.findall(r"(?:launch\.py|hybrid-nas) (?! )([^|&;#>]*)", line):
            words = typed.split()
            given = words[0] if words and re.fullmatch(r"[a-z][a-z-]+", words[0]) else ""
            assert given in commands(), f"there is no command {given!r}: {line}"
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            assert options <= commands()[given], f"{options - commands()[given]}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_benchmark_in_the_docs_is_there(page: Path) -> None:
    for line in code(page.read_text(encoding="utf-8")):
        for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_in_the_docs_is_there(page: Path) -> None:
    for word in code(page.read_text(encoding="utf-8")):
        if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[a-z_0-9/.-]+", word):
            assert list(ROOT.glob(word.rstrip("/"))), f"{name_of(page)} names {word}"


def test_the_map_in_the_design_is_what_the_packages_say() -> None:
    design = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    mapped = dict(re.findall(r"^\| `([a-z_/]+)/` \| (.+?) \|", design, flags=re.MULTILINE))
    said = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("__init__.py"):
            said[name_of(path.parent)] = " ".join((ast.get_docstring(tree(path)) or "").split())
    assert mapped == said


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
