"""Entries of several versions and networks beside this project in one process; and entries that were moved, packed, or
meet libraries that are too old."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from search_spaces.network.versions import OLDEST, require_versions
from search_spaces.zoo import bundle
from search_spaces.zoo.export import export_model
from tests.zoo_entries import architecture, card_of, every_part, trained, weights_of

pytestmark = pytest.mark.slow

FACTOR = {"first": 1, "second": 1, "later": 2, "former": 3}
"""Entry -> what the classifier of its version multiplies logits by."""
SEED = {"first": 0, "second": 1, "later": 2, "former": 3}
TOGETHER = """
import copy, importlib, json, pickle, sys, warnings
from pathlib import Path
import safetensors.torch, timm, torch
warnings.simplefilter("error")
import hybrid_nas.api, search_spaces.presets, workers.training.distillation
images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(3))
logits = {}
for folder in sys.argv[2:]:
    sys.path.insert(0, folder)
    config = json.loads(Path(folder, "config.json").read_text())
    importlib.import_module(config["architecture"])
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        answers = [kept(images) for kept in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)))]
    assert all(torch.equal(answer, answers[0]) for answer in answers), folder
    logits[folder.rpartition("/")[2]] = answers[0]
safetensors.torch.save_file(logits, sys.argv[1])
"""
ALONE = """
import sys, warnings
import timm, torch
warnings.simplefilter("error")
sys.path.insert(0, sys.argv[1])
import hybrid_backbone
model = timm.create_model(f"local-dir:{sys.argv[2]}", pretrained=True).eval()
print(tuple(model(torch.zeros(1, 1, 32, 32)).shape), model.__class__ is hybrid_backbone.HybridBackbone)
"""
BY_FILE = """
import importlib.util, sys
import timm, torch
found = importlib.util.spec_from_file_location("of_my_own", f"{sys.argv[1]}/hybrid_backbone.py")
found.loader.exec_module(importlib.util.module_from_spec(found))
print(tuple(timm.create_model(f"local-dir:{sys.argv[1]}", pretrained=True)(torch.zeros(2, 1, 32, 32)).shape))
"""
OLD = """
import sys
import timm
timm.__version__ = sys.argv[2]
sys.path.insert(0, sys.argv[1])
import hybrid_backbone
"""
TIMM_NAMES = {
    "timm": {""},
    "timm.layers.adaptive_avgmax_pool": {"SelectAdaptivePool2d"},
    "timm.layers.conv2d_same": {"Conv2dSame"},
    "timm.layers.drop": {"DropPath"},
    "timm.layers.helpers": {"make_divisible"},
    "timm.layers.mlp": {"Mlp"},
    "timm.layers.norm": {"LayerNorm", "LayerNorm2d"},
    "timm.layers.separable_conv": {"SeparableConvNormAct"},
    "timm.layers.squeeze_excite": {"SEModule"},
    "timm.layers.weight_init": {"trunc_normal_"},
    "timm.models": {
        "build_model_with_cfg",
        "checkpoint_seq",
        "register_notrace_function",
        "register_notrace_module",
    },
    "timm.models._efficientnet_blocks": {"InvertedResidual", "SqueezeExcite"},
    "timm.models._features": {"feature_take_indices"},
    "timm.models.pvt_v2": {"MlpWithDepthwiseConv"},
}
"""What was tried with timm of OLDEST."""


def export(zoo: Path, name: str) -> None:
    arch = architecture(SEED[name])
    export_model(zoo=zoo, name=name, spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_of(arch))


def of_another_version(zoo: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose networks compute something else."""
    body = bundle._body

    def changed(parts: tuple[str, ...]) -> str:
        line = "x = self.drop(self.hidden(x))\n"
        text = body(parts).replace(line, f"{line}        x = x * {FACTOR[name]}\n")
        assert text != body(parts)
        return text

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_body", changed)
        export(zoo, name)


def of_one_file(folder: Path) -> None:
    """Give the entry the form that it had before its version was in a name."""
    config = json.loads((folder / "config.json").read_text())
    module = folder / f"{config['architecture']}.py"
    text = module.read_text().replace(config["architecture"], "hybrid_backbone")
    module.unlink()
    (folder / "hybrid_backbone.py").write_text(text)
    (folder / "config.json").write_text(json.dumps({**config, "architecture": "hybrid_backbone"}))


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    zoo = tmp_path_factory.mktemp("versions") / "zoo"
    export(zoo, "first")
    export(zoo, "second")
    with pytest.MonkeyPatch.context() as monkeypatch:
        of_another_version(zoo, "later", monkeypatch)
        of_another_version(zoo, "former", monkeypatch)
    of_one_file(zoo / "former")
    return zoo


@pytest.mark.parametrize("order", [("first", "later", "former", "second"), ("former", "later", "first")])
def test_every_entry_is_built_by_the_code_of_its_own_version(zoo: Path, tmp_path: Path, order: tuple[str, ...]) -> None:
    done = run(TOGETHER, tmp_path / "logits", *(zoo / name for name in order))
    assert (done.returncode, done.stderr) == (0, "")
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    logits = safetensors.torch.load_file(tmp_path / "logits")
    for name in order:
        network = trained(architecture(SEED[name]))
        with torch.no_grad():
            pooled = FACTOR[name] * network.forward_head(network.forward_features(images), pre_logits=True)
            torch.testing.assert_close(logits[name], network.head.fc(pooled), rtol=1e-4, atol=1e-4)


def test_versions_and_networks_have_names_of_their_own(zoo: Path) -> None:
    names = {name: json.loads((zoo / name / "config.json").read_text())["architecture"] for name in FACTOR}
    assert len(set(names.values())) == len(FACTOR)
    assert names["first"] == bundle.module_name(architecture(SEED["first"]).to_spec())
    assert (zoo / "first" / f"{names['first']}.py").is_file()


def test_an_entry_may_be_moved_renamed_and_unwritable(zoo: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere and renamed, 50 %"
    shutil.copytree(zoo / "first", moved)
    (moved / "__pycache__").mkdir()
    for path in (*moved.iterdir(), moved):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = run(ALONE, moved, moved)
    moved.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "(1, 10) True\n"), done.stderr


def test_its_modules_may_lie_in_an_archive(zoo: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", zoo, "first")
    done = run(ALONE, f"{archive}/first", zoo / "first")
    assert (done.returncode, done.stdout) == (0, "(1, 10) True\n"), done.stderr


def test_its_module_may_be_loaded_by_its_file(zoo: Path) -> None:
    done = run(BY_FILE, zoo / "second")
    assert (done.returncode, done.stdout) == (0, "(2, 10)\n"), done.stderr


@pytest.mark.parametrize("version", ["0.9.16", "1.0.9", "1.0.15"])
def test_an_older_timm_is_refused_by_name(zoo: Path, version: str) -> None:
    done = run(OLD, zoo / "first", version)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: this model needs timm {OLDEST['timm']} or newer, and here is timm {version}; "
        "install a newer timm (pip install -U timm, for example)"
    )


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("timm", "1.0.16", True),
        ("timm", "1.1.0.dev0", True),
        ("timm", "1.0.9", False),
        ("torch", "2.0.0+cu118", True),
        ("torch", "2.15.0a0+git1234", True),
        ("torch", "1.13.1", False),
        ("Python", "3.10.4", True),
        ("Python", "3.9.21", False),
    ],
)
def test_versions_are_compared_as_numbers(name: str, version: str, fits: bool) -> None:
    found = {**OLDEST, name: version}
    if fits:
        require_versions(found)
    else:
        with pytest.raises(ImportError, match=f"needs {name} {OLDEST[name]} or newer, and here is {name} {version}"):
            require_versions(found)


def test_only_what_the_oldest_timm_has_is_imported() -> None:
    imported: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(bundle._body(every_part()), feature_version=(3, 10))):
        if isinstance(node, ast.ImportFrom):
            imported.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            imported.update({alias.name: {""} for alias in node.names})
    used = {module: names for module, names in imported.items() if module.startswith("timm")}
    assert used == TIMM_NAMES, f"load an entry with timm {OLDEST['timm']}, then change this table or OLDEST"
