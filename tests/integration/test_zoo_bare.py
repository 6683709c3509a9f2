"""A zoo entry in an environment of torch, timm and what these need, and nothing else: no part of this project, no
Optuna, no Ray."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from search_spaces.zoo.export import export_model
from tests.bare_site import bare_site
from tests.zoo_entries import architecture, card_of, trained, weights_of

SEEDS = range(10)
"""Of random layouts; together they hold all mixers, all stems and both fused blocks."""

LOAD = """
import importlib, json, sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path] + [sys.argv[1]]
from pathlib import Path
for absent in ("nas", "search_spaces", "workers", "db", "optuna", "ray", "sqlalchemy", "fvcore", "sklearn", "onnx"):
    try:
        __import__(absent)
    except ImportError:
        continue
    sys.exit(f"{absent} can be imported: this is no bare environment")
import safetensors.torch, timm, torch
zoo = Path(sys.argv[2])
names = [model["name"] for model in json.loads((zoo / "index.json").read_text())["models"]]
for name in names:
    sys.path.insert(0, str(zoo / name))
    importlib.import_module(json.loads((zoo / name / "config.json").read_text())["architecture"])
images = safetensors.torch.load_file(zoo / "images.safetensors")["images"]
logits, shapes = {}, {}
with torch.inference_mode():
    for name in names:
        source = f"local-dir:{zoo / name}"
        logits[name] = timm.create_model(source, pretrained=True).eval()(images)
        large = timm.create_model(source, pretrained=False, num_classes=1000, in_chans=3).eval()
        pixels = torch.rand(2, 3, 224, 224)
        adapted = timm.create_model(source, pretrained=True, num_classes=5, in_chans=3).eval()
        features = timm.create_model(source, pretrained=True, features_only=True).eval()
        data = timm.data.resolve_model_data_config(adapted)
        shapes[name] = {
            "large": list(large(pixels).shape),
            "unpooled": list(large.forward_features(pixels).shape),
            "adapted": list(adapted(torch.rand(2, 3, 32, 32)).shape),
            "features": [list(feature.shape) for feature in features(images)],
            "channels": features.feature_info.channels(),
            "mean": list(data["mean"]),
        }
safetensors.torch.save_file(logits, zoo / "logits.safetensors")
print(json.dumps(shapes))
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    zoo = tmp_path_factory.mktemp("zoo")
    for seed in SEEDS:
        arch = architecture(seed)
        export_model(
            zoo=zoo, name=f"model-{seed}", spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_of(arch)
        )
    images = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    safetensors.torch.save_file({"images": images}, zoo / "images.safetensors")
    return zoo


@pytest.fixture(scope="module")
def shapes(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[int]]]:
    """What the bare process printed; its logits lie in the zoo."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    site = bare_site(elsewhere / "site", "torch", "timm")
    command = [sys.executable, "-I", "-S", "-c", LOAD, str(site), str(zoo)]
    done = subprocess.run(
        command, cwd=elsewhere, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shapes: dict[str, dict[str, list[int]]] = json.loads(done.stdout)
    return shapes


def test_the_layouts_cover_all_mixers() -> None:
    specs = "".join(json.dumps(architecture(seed).to_spec()) for seed in SEEDS)
    for word in (
        "mbconv",
        "dwconv",
        "key_only",
        "group_mix",
        "full",
        "fused_serial",
        "fused_parallel",
        "conv",
        "overlap",
        "patchify",
    ):
        assert f'"{word}"' in specs, word


def test_logits_are_those_of_the_model(zoo: Path, shapes: dict[str, dict[str, list[int]]]) -> None:
    images = safetensors.torch.load_file(zoo / "images.safetensors")["images"]
    loaded = safetensors.torch.load_file(zoo / "logits.safetensors")
    assert loaded.keys() == shapes.keys() == {f"model-{seed}" for seed in SEEDS}
    for seed in SEEDS:
        with torch.inference_mode():
            expected = trained(architecture(seed))(images)
        assert expected.std() > 0.05  # a constant would equal anything
        torch.testing.assert_close(loaded[f"model-{seed}"], expected, rtol=0, atol=1e-5)


def test_the_same_entry_serves_large_images_and_many_classes(shapes: dict[str, dict[str, list[int]]]) -> None:
    for seed in SEEDS:
        stages = architecture(seed).stages
        shown = shapes[f"model-{seed}"]
        side = 224 // 32 * architecture(seed).map_sizes()[-1]
        assert shown["large"] == [2, 1000]
        assert shown["unpooled"] == [2, stages[-1].width, side, side]
        assert shown["adapted"] == [2, 5]


def test_it_gives_feature_maps_and_the_input_of_its_training(shapes: dict[str, dict[str, list[int]]]) -> None:
    for seed in SEEDS:
        arch = architecture(seed)
        shown = shapes[f"model-{seed}"]
        assert shown["channels"] == [stage.width for stage in arch.stages]
        assert shown["features"] == [
            [5, stage.width, size, size] for stage, size in zip(arch.stages, arch.map_sizes(), strict=True)
        ]
        assert shown["mean"] == [0.2]
