import errno
import hashlib
import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm

from nas.errors import InvalidInputError, NasError
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.network.versions import OLDEST
from search_spaces.published.families import PRESETS
from search_spaces.zoo.bundle import module_name
from search_spaces.zoo.card import card_text, without_passwords
from search_spaces.zoo.export import check_export, export_model
from tests.zoo_entries import architecture, card_of, full_training, trained, weights_of

MODULE = module_name(architecture(1).to_spec())
FILES = {"README.md", "config.json", "hybrid_backbone.py", f"{MODULE}.py", "layout.svg", "model.safetensors"}


def export(zoo: Path, name: str, arch: Architecture, **options: Any) -> Path:
    return export_model(
        zoo=zoo, name=name, spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_of(arch), **options
    )


def everything_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def index_of(zoo: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = json.loads((zoo / "index.json").read_text())["models"]
    return models


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model in it, `first`. Tests leave it as it is."""
    zoo = tmp_path_factory.mktemp("zoo") / "models"
    export(zoo, "first", architecture(1))
    return zoo


def test_an_entry_is_a_folder_of_its_own_beside_the_index(zoo: Path) -> None:
    assert {path.name for path in zoo.iterdir()} == {"index.json", "first"}
    assert {path.name for path in (zoo / "first").iterdir()} == FILES


def test_the_index_says_what_and_how_good_and_proves_the_files(zoo: Path) -> None:
    (entry,) = index_of(zoo)
    arch = architecture(1)
    assert (entry["name"], entry["arch_hash"], entry["layout"]) == ("first", arch.arch_hash, arch.layout())
    assert (entry["top1"], entry["cost"], entry["param_count"]) == (0.8125, {"latency_ms": 0.912}, 34_567)
    assert entry["created"] == "2026-03-04T05:06:00+00:00"
    assert entry["sha256"] == {name: hashlib.sha256((zoo / "first" / name).read_bytes()).hexdigest() for name in FILES}


def test_the_config_has_the_spec_and_the_input_of_the_training(zoo: Path) -> None:
    config = json.loads((zoo / "first" / "config.json").read_text())
    assert config["architecture"] == MODULE
    assert Architecture.from_spec(config["model_args"]["spec"]) == architecture(1)
    cfg = config["pretrained_cfg"]
    assert (cfg["input_size"], cfg["mean"], cfg["std"], cfg["num_classes"]) == ([1, 32, 32], [0.2], [0.3], 10)
    assert (cfg["interpolation"], cfg["crop_pct"], cfg["crop_mode"]) == ("bilinear", 1.0, "center")
    assert config["label_names"] == list("0123456789")


def test_the_card_has_the_crop_and_the_classes_in_the_order_of_the_logits() -> None:
    arch = architecture(1)
    names = ("10", "2", 'a "quoted" | `name`', "größe")
    card = card_text("net", arch, replace(card_of(arch), crop_pct=0.875, label_names=names), [])
    assert "- shorter side resized to 36 pixels, bilinear; then the center is cut out (crop_pct 0.875)\n" in card
    shown = card.partition("in the order of the logits:\n\n```json\n")[2].partition("```")[0]
    assert tuple(json.loads(shown)) == names
    assert "- 10 classes without names\n" in card_text("net", arch, replace(card_of(arch), label_names=()), [])


def test_the_weights_are_kept_as_given(zoo: Path) -> None:
    kept = safetensors.torch.load_file(zoo / "first" / "model.safetensors")
    model = trained(architecture(1)).state_dict()
    assert kept.keys() == model.keys()
    assert all((kept[name] == tensor).all() for name, tensor in model.items())


def test_the_entry_of_a_finalist_says_what_its_seeds_reached(tmp_path: Path) -> None:
    arch = architecture(1)
    card_facts = card_of(arch, full_training())
    folder = export_model(
        zoo=tmp_path, name="final", spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_facts
    )
    card = (folder / "README.md").read_text()
    assert re.search(
        r"\| top1 on test \| 0.9500 \(0.9252 to 0.9748\) \| "
        r"mean of 3 full trainings .*1,024 test images.*Student's t.*0.9400 to 0.9600",
        card,
    )
    assert (
        "| top1 of these weights on validation | 0.9375 | seed 9, 1,280 optimizer steps, 33 s on cpu; 0.9600 on "
        "the test images |" in card
    )
    assert "| probability of being on the front | 0.88 |" in card
    for text in ("that of seed 9", "seed: 9 ", '"learning_rate": 0.004', "interval 0.900 ms to 0.930 ms"):
        assert text in card
    assert "0.8125" not in card  # the short training's
    (entry,) = index_of(tmp_path)
    assert (entry["top1"], entry["top1_interval"], entry["top1_split"]) == (0.95, [0.9252, 0.9748], "test")
    assert (entry["seeds"], entry["front_probability"]) == ([8, 9, 10], 0.875)


def test_a_finalist_without_test_images_says_so(tmp_path: Path) -> None:
    arch = architecture(1)
    card = card_text("final", arch, card_of(arch, full_training("validation")), [])
    assert "| top1 on validation | 0.9500 (0.9252 to 0.9748) |" in card
    assert "the validation split, which also guided all choices" in card
    assert "test images" not in card


def test_the_card_says_how_numbers_were_measured_and_how_to_get_them_again(zoo: Path) -> None:
    card = (zoo / "first" / "README.md").read_text()
    arch = architecture(1)
    for text in (
        arch.layout(),
        "](layout.svg)",
        "0.8125",
        "validation split of `folder:digits` after 160 optimizer steps",
        "seed: 7",
    ):
        assert text in card
    assert re.search(r"\| latency \| 0.912 ms \| median of 60 timings, 95 % interval 0.900 ms to 0.930 ms", card)
    assert "python launch.py retrain --storage postgresql+psycopg://nas:***@localhost/nas --pick trial:12" in card
    assert (zoo / "first" / "layout.svg").read_text().startswith("<svg")


def test_the_card_can_be_followed_wherever_the_zoo_is(zoo: Path, tmp_path: Path) -> None:
    card = (zoo / "first" / "README.md").read_text()
    assert 'folder = "first"  # the folder of this card, wherever it lies' in card
    assert "zoo/" not in card and f"\nimport {MODULE}\n" in card
    assert f"timm {OLDEST['timm']}, or newer versions;\nthis entry was written with timm {timm.__version__}" in card


def test_no_password_and_no_path_of_the_machine_leaves_the_house(zoo: Path) -> None:
    for name, content in everything_under(zoo).items():
        assert b"secret" not in content, name
        assert b"/home/someone" not in content, name


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql+psycopg://nas:p:w/d@host/db", "postgresql+psycopg://nas:***@host/db"),
        ("at http://u:x@h and http://v:y@h", "at http://u:***@h and http://v:***@h"),
        ("sqlite:///nas.db and user@host", "sqlite:///nas.db and user@host"),
    ],
)
def test_passwords_are_taken_out_of_urls(given: str, shown: str) -> None:
    assert without_passwords(given) == shown


@pytest.mark.parametrize(
    "name",
    ["", "..", "../out", "a/b", "/tmp", "a.b", ".hidden", "-x", "index.json", "name\n", "a b", "é", "x" * 129, "C:x"],
)
def test_a_name_that_is_no_plain_word_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be used; give 1 to 128 letters"):
        export(tmp_path / "zoo", name, architecture(1))
    assert list(tmp_path.iterdir()) == []


def test_a_second_model_leaves_the_first_alone(zoo: Path, tmp_path: Path) -> None:
    export(tmp_path, "b-model", architecture(2))
    before = everything_under(tmp_path / "b-model")
    export(tmp_path, "A_model", architecture(3))
    assert everything_under(tmp_path / "b-model") == before
    assert [entry["name"] for entry in index_of(tmp_path)] == ["A_model", "b-model"]


@pytest.mark.parametrize(
    ("seed", "which"), [(1, "this architecture"), (2, f"another architecture, {architecture(1).arch_hash[:12]}")]
)
def test_a_taken_name_is_refused(zoo: Path, seed: int, which: str) -> None:
    before = everything_under(zoo)
    with pytest.raises(
        InvalidInputError, match=f"has a model 'first' already, of {which}; give another --name, or --overwrite"
    ):
        export(zoo, "first", architecture(seed))
    assert everything_under(zoo) == before


def test_what_is_refused_is_refused_before_weights_are_made(zoo: Path, tmp_path: Path) -> None:
    spec = architecture(1).to_spec()
    with pytest.raises(InvalidInputError, match="has a model 'first' already"):
        check_export(zoo=zoo, name="first", spec=spec)
    with pytest.raises(InvalidInputError, match="cannot be used"):
        check_export(zoo=zoo, name="../first", spec=spec)
    check_export(zoo=zoo, name="first", spec=spec, overwrite=True)
    check_export(zoo=tmp_path / "new", name="first", spec=spec)
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_that_nothing_runs_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.zoo.onnx.PACKAGES", ())
    monkeypatch.setitem(KINDS, "dwconv", replace(KINDS["dwconv"], onnx="no operator for it"))
    spec = PRESETS["convnext_tiny"].architecture.to_spec()
    check_export(zoo=tmp_path, name="x", spec=spec)
    with pytest.raises(
        InvalidInputError,
        match=r"onnxruntime cannot run dwconv \(no operator for it\), which this network has; export without --onnx",
    ):
        check_export(zoo=tmp_path, name="x", spec=spec, onnx=True)


def test_overwrite_replaces_the_entry(tmp_path: Path) -> None:
    export(tmp_path, "one", architecture(1))
    export(tmp_path, "one", architecture(2), overwrite=True)
    assert [entry["arch_hash"] for entry in index_of(tmp_path)] == [architecture(2).arch_hash]
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "one"}
    assert Architecture.from_spec(
        json.loads((tmp_path / "one/config.json").read_text())["model_args"]["spec"]
    ) == architecture(2)


def test_a_folder_that_is_no_entry_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="exists and is no entry of the zoo"):
        export(tmp_path, "mine", architecture(1), overwrite=True)
    assert everything_under(tmp_path) == {"mine/thesis.txt": b"years of work"}


def test_the_index_forgets_what_a_person_has_removed(tmp_path: Path) -> None:
    folder = export(tmp_path, "one", architecture(1))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    export(tmp_path, "two", architecture(2))
    assert [entry["name"] for entry in index_of(tmp_path)] == ["two"]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"models": [1]}', '{"models": {}, "x": ', '{"other": 1}', '{"models": [{"name": "."}]}']
)
def test_a_file_that_is_no_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(InvalidInputError, match=r"index\.json is not the index of a zoo"):
        export(tmp_path, "one", architecture(1))
    assert everything_under(tmp_path) == {"index.json": text.encode()}


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    arch = architecture(1)
    with pytest.raises(
        InvalidInputError, match=r"are not those of architecture .* \(Error\(s\) in loading state_dict.*train it again"
    ):
        export_model(
            zoo=tmp_path,
            name="x",
            spec=arch.to_spec(),
            weights=weights_of(trained(architecture(2))),
            card=card_of(arch),
        )
    assert list(tmp_path.iterdir()) == []


def test_weights_with_a_missing_tensor_are_refused(tmp_path: Path) -> None:
    arch = architecture(1)
    tensors = trained(arch).state_dict()
    tensors.popitem()
    with pytest.raises(InvalidInputError, match="are not those of architecture"):
        export_model(
            zoo=tmp_path,
            name="x",
            spec=arch.to_spec(),
            weights=safetensors.torch.save(dict(tensors)),
            card=card_of(arch),
        )
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    arch = architecture(1)
    with pytest.raises(InvalidInputError, match="are not those of architecture"):
        export_model(zoo=tmp_path, name="x", spec=arch.to_spec(), weights=b"\x80pickle", card=card_of(arch))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_the_zoo_as_it_was(tmp_path: Path, overwrite: bool) -> None:
    export(tmp_path, "one", architecture(1))
    before = everything_under(tmp_path)
    with (
        files_of_at_most(20_000),
        pytest.raises(NasError, match="cannot be written: File too large; make room or give another --zoo"),
    ):
        export(tmp_path, "one" if overwrite else "two", architecture(2), overwrite=overwrite)
    assert everything_under(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "one"}


def test_no_room_for_the_index_leaves_the_zoo_as_it_was(tmp_path: Path) -> None:
    arch = architecture(1)
    many = replace(card_of(arch), label_names=())
    export(tmp_path, "one", arch)
    index = {"models": index_of(tmp_path) * 2_000}
    (tmp_path / "index.json").write_text(json.dumps(index))
    before = everything_under(tmp_path)
    with files_of_at_most(len(before["index.json"])), pytest.raises(NasError, match="File too large"):
        export_model(zoo=tmp_path, name="two", spec=arch.to_spec(), weights=weights_of(trained(arch)), card=many)
    assert everything_under(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("failing", ["rename", "replace"])
def test_a_failing_rename_leaves_the_zoo_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, overwrite: bool
) -> None:
    export(tmp_path, "one", architecture(1))
    before = everything_under(tmp_path)
    name = "one" if overwrite else "two"
    original = getattr(Path, failing)

    def fail_on_arrival(self: Path, target: Path) -> Path:
        if (
            self.parent.name.startswith(".export-")
            and target.parent == tmp_path
            and not self.name.endswith(".replaced")
        ):
            raise OSError(errno.EIO, "Input/output error")
        moved: Path = original(self, target)
        return moved

    monkeypatch.setattr(Path, failing, fail_on_arrival)
    with pytest.raises(NasError, match="cannot be written: Input/output error"):
        export(tmp_path, name, architecture(2), overwrite=overwrite)
    assert everything_under(tmp_path) == before


def test_what_a_killed_export_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".export-dead" / "one").mkdir(parents=True)
    (tmp_path / ".export-dead" / "one" / "model.safetensors").write_bytes(b"half")
    export(tmp_path, "one", architecture(1))
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "one"}


def test_a_zoo_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zoo").write_text("")
    with pytest.raises(InvalidInputError, match=r"cannot be written \(Not a directory\); give a folder"):
        export(tmp_path / "zoo", "one", architecture(1))
