"""Spaces are found by their file; a name that is none lists what there is. Spaces of a user's own are opened, and
refused in one line where they cannot be."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.errors import InvalidInputError
from nas.records import JSON, StudyRecord, TrialFacts
from search_spaces import registry
from search_spaces.recorded import as_recorded
from search_spaces.registry import (
    building_module,
    find_own,
    known_names,
    make_space,
    open_space,
    require_ours,
    space_names,
)
from tests.own_spaces import EXAMPLE, OWN_NETWORKS, write_example, write_own_networks
from tests.zoo_entries import architecture, card_of

SETTING = ("nano", 32, 1, 10)


def test_an_installed_package_adds_a_space_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_package").mkdir()
    (tmp_path / "installed_package" / "__init__.py").touch()
    write_example(tmp_path / "installed_package")
    information = tmp_path / "installed_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-package\nVersion: 1.0\n")
    points = "[hybrid_nas.spaces]\ntheirs = installed_package.mine\nconv_only = installed_package.mine\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    assert known_names() == (*space_names(), "theirs")
    found = find_own("theirs")
    assert found is not None and found.origin == "installed_package.mine"
    assert make_space("theirs", *SETTING).name == "my_space"
    assert find_own("conv_only") is None, "a name of ours stays ours"
    with pytest.raises(InvalidInputError, match="theirs"):
        find_own("nobodys")


def test_known_spaces() -> None:
    assert registry.space_names() == ("conv_only", "hybrid_layout")
    for name in registry.space_names():
        space = make_space(name, *SETTING)
        assert (space.name, space.scale) == (name, "nano")
        assert find_own(name) is None


def test_unknown_name_lists_the_known_ones() -> None:
    for name in ("nope", "../launch", "scales", ""):
        with pytest.raises(
            InvalidInputError, match=f"unknown space '{name}'; expected one of conv_only, hybrid_layout, or a FILE.py"
        ):
            make_space(name, *SETTING)


def test_one_new_file_is_a_new_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(registry.__file__).parent
    for module in ("conv_only.py", "scales.py"):
        (tmp_path / module).write_text((package / module).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "conv_only.py").rename(tmp_path / "another.py")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    assert registry.space_names() == ("another",)


def test_a_file_is_a_space_whatever_folder_it_is_named_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_example(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    hashes = set()
    for given in (str(file), "./mine.py", "~/mine.py"):
        found = find_own(given)
        assert found is not None and found.origin == str(file)
        hashes.add(make_space(given, *SETTING).space_hash)
    assert len(hashes) == 1


def test_an_importable_module_is_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_a_user"
    package.mkdir()
    (package / "__init__.py").touch()
    write_example(package)
    monkeypatch.syspath_prepend(tmp_path)
    assert make_space("package_of_a_user.mine", *SETTING).name == "my_space"
    found = find_own("package_of_a_user.mine")
    assert found is not None and (found.origin, found.source) == ("package_of_a_user.mine", None)


CONV_ONLY = "from search_spaces.conv_only import conv_only\n"
HALF_A_SPACE = "from types import SimpleNamespace\nSPACE = lambda *setting: SimpleNamespace(name='half', genes=())\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{file} holds no SPACE; expected SPACE = a function of scale, image_size, in_chans, num_classes"),
        ("SPACE = 3", "SPACE of {file} is 3; expected a function of scale"),
        ("import math\n\n1 / 0", "the space of {file} raises ZeroDivisionError in line 3: division by zero; mend it"),
        ("SPACE = (", "the space of {file} raises SyntaxError in line 1: '(' was never closed"),
        ("import beside_it", "the space of {file} raises ModuleNotFoundError in line 1: No module named 'beside_it'"),
        ("raise SystemExit('bye')", "the space of {file} raises SystemExit in line 1: bye"),
        ("raise ValueError", "the space of {file} raises ValueError in line 1: ValueError; mend it"),
        ("def SPACE(*setting):\n    return {}['depth']", "the space of {file} raises KeyError in line 2: 'depth'"),
        ("SPACE = lambda scale: None", "the space of {file} raises TypeError: <lambda>() takes 1 positional argument"),
        ("SPACE = lambda *setting: 3", "SPACE of {file} gives a int without architecture, costs, draw, gen"),
        (HALF_A_SPACE, "SPACE of {file} gives a SimpleNamespace without architecture, costs, draw, genotype_costs"),
        (f"{CONV_ONLY}SPACE = conv_only", "the space of {file} is named 'conv_only' like one of ours; give it a name"),
        (
            OWN_NETWORKS.replace('"num_classes"', '"classes"'),
            "the specs of {file} lack num_classes; every spec needs them",
        ),
        (
            f"{EXAMPLE.read_text(encoding='utf-8')}\nbuild = print\n",
            "{file} defines build, and its specs are those of our blocks; drop build, or give the specs a key of their",
        ),
        (
            OWN_NETWORKS.replace("def build", "def make"),
            "the networks of {file} are none of ours (spec is ['hidden', 'image_size', 'in_chans', 'num_classes']; "
            "expected an object with exactly",
        ),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=re.escape(message.format(file=file))) as caught:
        make_space(str(file), *SETTING)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=rf"there is no file {tmp_path}/gone\.py; expected a Python file that"):
        make_space(str(tmp_path / "gone.py"), *SETTING)
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InvalidInputError, match=r"folder\.py' is a folder; expected a file name"):
        make_space(str(tmp_path / "folder.py"), *SETTING)
    for given in ("no_such_package.spaces", "json.no_such_module"):
        with pytest.raises(InvalidInputError, match=f"there is no module {given} to import here; install its package"):
            make_space(given, *SETTING)


def study_of(file: Path, **changes: Any) -> tuple[StudyRecord, JSON]:
    """A study of the space in the file, and the spec of a trial."""
    space = make_space(str(file), *SETTING)
    recorded: Any = card_of(architecture()).origin
    study = replace(recorded.study, space=space.name, space_module=str(file), space_hash=space.space_hash, **changes)
    return study, space.largest().to_spec()


def test_a_study_opens_its_space_by_its_module(tmp_path: Path) -> None:
    study, spec = study_of(write_example(tmp_path))
    assert open_space(study, spec).space_hash == study.space_hash
    assert building_module(study, spec) is None, "its networks are ours"
    require_ours(study, spec)


def test_a_study_of_ours_opens_its_space_by_its_name() -> None:
    recorded: Any = card_of(architecture()).origin
    assert open_space(recorded.study, architecture().to_spec()).name == "hybrid_layout"
    assert building_module(recorded.study, architecture().to_spec()) is None
    with pytest.raises(InvalidInputError, match=r"searched the space 'lost', which is not as it was: unknown space"):
        open_space(replace(recorded.study, space="lost"), architecture().to_spec())


def test_a_study_whose_module_is_gone_says_so(tmp_path: Path) -> None:
    file = write_example(tmp_path)
    study, spec = study_of(file)
    file.unlink()
    with pytest.raises(
        InvalidInputError, match=rf"study '.*' searched the space 'my_space', .* there is no file {file}; expected"
    ):
        open_space(study, spec)
    require_ours(study, spec)
    assert building_module(study, spec) is None, "the spec says all that its networks are"


def test_a_space_of_a_users_own_that_has_grown_still_reads_what_was_recorded(tmp_path: Path) -> None:
    file = write_example(tmp_path)
    study, _ = study_of(file)
    first = make_space(str(file), *SETTING)
    genotypes = {0: first.presets()["large"]}
    architecture = first.architecture(genotypes[0])
    spec = architecture.to_spec()
    costs = first.costs(architecture)
    trial = TrialFacts(0, architecture.arch_hash, spec, architecture.layout(), costs, 0, "COMPLETE")
    values = {gene.name: gene.values for gene in first.genes}
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("(16, 24, 32)", "(16, 24, 32, 40)"), encoding="utf-8")
    grown = open_space(study, spec)
    assert grown.space_hash != study.space_hash
    recorded = as_recorded(grown, study, values, [trial], genotypes)
    assert [gene.values for gene in recorded.genes] == [gene.values for gene in first.genes]
    shrunk = text.replace("(16, 24, 32)", "(16, 24)").replace('"width": 32', '"width": 24')
    file.write_text(shrunk, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"its genes mean something else; explain it with version"):
        as_recorded(open_space(study, spec), study, values, [trial], genotypes)


def test_networks_of_a_users_own_are_built_by_the_module_and_kept_out_of_the_zoo(tmp_path: Path) -> None:
    file = write_own_networks(tmp_path)
    study, spec = study_of(file)
    assert building_module(study, spec) == find_own(str(file))
    with pytest.raises(InvalidInputError, match=rf"are built by {file}, and a zoo entry carries the networks of this"):
        require_ours(study, spec)
    file.unlink()
    with pytest.raises(InvalidInputError, match=r"searched the space 'plain', .* there is no file"):
        building_module(study, spec)
    file.write_text(OWN_NETWORKS.replace("(4, 8)", "(4, 8, 16)"), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"which has changed and may build other networks; put it back"):
        building_module(study, spec)
