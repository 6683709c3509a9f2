"""A published file becomes an entry of the zoo, or the zoo stays as it was."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import launch
from nas.errors import InvalidInputError
from search_spaces.checkpoints import convert_groupmixformer
from search_spaces.zoo.import_weights import import_checkpoint, read_checkpoint
from tests.models import create
from tests.plain_groupmixformer import PlainGroupMixFormer


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the authors of GroupMixFormer publish it, of the mobile size."""
    torch.manual_seed(0)
    model = PlainGroupMixFormer((40, 80, 160, 160), (3, 3, 12, 4), (4, 4, 4, 4), 1000).to(
        memory_format=torch.channels_last
    )
    file = tmp_path_factory.mktemp("published") / "mobile.pth"
    torch.save({"model": model.state_dict(), "epoch": 298}, file)
    return file


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["launch.py", "import-weights", *arguments])
    try:
        launch.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_writes_a_model_with_the_published_weights(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo = tmp_path / "zoo"
    assert call(monkeypatch, str(published), "--preset", "groupmixformer_mobile", "--zoo", str(zoo)) == 0
    assert "groupmixformer_mobile, every entry of mobile.pth used once" in capsys.readouterr().out
    folder = zoo / "groupmixformer_mobile"
    expected = convert_groupmixformer(torch.load(published, weights_only=True))
    written = safetensors.torch.load_file(folder / "model.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in written.items())
    create("groupmixformer_mobile").load_state_dict(written)
    config = json.loads((folder / "config.json").read_text())
    assert config["pretrained_cfg"]["tag"] == "published" and config["pretrained_cfg"]["crop_pct"] == 0.875
    assert (len(config["label_names"]), config["label_names"][:2]) == (1000, ["n01440764", "n01443537"])
    assert config["label_descriptions"]["n01440764"] == "tench, Tinca tinca"
    card = (folder / "README.md").read_text()
    assert '\n  ["n01440764", "tench, Tinca tinca"],\n  ["n01443537", "goldfish' in card
    assert "The preset `groupmixformer_mobile` with published weights" in card and "accuracy: not measured here" in card
    assert (
        "python launch.py import-weights mobile.pth --preset groupmixformer_mobile\n" in card
        and str(tmp_path) not in card
    )
    entry = json.loads((zoo / "index.json").read_text())["models"][0]
    assert entry["preset"] == "groupmixformer_mobile" and entry["param_count"] == 5_733_120


def test_weights_of_another_size_are_refused_and_nothing_is_written(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, str(published), "--preset", "groupmixformer_tiny", "--zoo", str(tmp_path / "zoo")) == 2
    assert "the checkpoint is not a groupmixformer_tiny of this size" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


def test_timms_name_of_a_preset_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "convnext.safetensors"
    published = create("convnext_tiny")
    safetensors.torch.save_file(published.state_dict(), file)
    folder = import_checkpoint(
        file,
        "hybrid_convnext_tiny",
        zoo=tmp_path / "zoo",
        name="c",
        onnx=False,
        overwrite=False,
        code_version="0",
        command="",
    )
    ours = create("hybrid_convnext_tiny")
    ours.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    assert torch.equal(ours.head.fc.weight, published.head.fc.weight)


def test_a_name_in_use_is_refused_before_the_file_is_read(published: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InvalidInputError, match="exists and is no entry of the zoo"):
        import_checkpoint(
            tmp_path / "missing.pth",
            "groupmixformer_mobile",
            zoo=tmp_path,
            name="taken",
            onnx=False,
            overwrite=False,
            code_version="0",
            command="",
        )


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("linglo_b0", "preset 'linglo_b0' has no published weights; expected one of"),
        ("nope", "unknown preset 'nope'"),
    ],
)
def test_presets_without_published_weights_are_refused(
    published: Path, tmp_path: Path, preset: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        import_checkpoint(
            published, preset, zoo=tmp_path, name="x", onnx=False, overwrite=False, code_version="0", command=""
        )


class Danger:
    """What a pickle could run."""


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("hello")
    empty = tmp_path / "empty.pth"
    empty.touch()
    code = tmp_path / "code.pth"
    torch.save({"model": Danger()}, code)
    listed = tmp_path / "list.pth"
    torch.save([torch.zeros(3)], listed)
    tensors = tmp_path / "broken.safetensors"
    tensors.write_bytes(b"\x00" * 20)
    for file, message in (
        (tmp_path / "missing.pth", r"missing\.pth cannot be read"),
        (text, r"text\.pth is no checkpoint of tensors"),
        (empty, r"empty\.pth is no checkpoint of tensors \(EOFError\)"),
        (code, r"code\.pth holds objects besides tensors and plain values"),
        (listed, r"list\.pth holds a list; expected a state_dict"),
        (tensors, r"broken\.safetensors is no checkpoint of tensors"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            read_checkpoint(file)
