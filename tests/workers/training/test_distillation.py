"""Teachers: how they are loaded, what they see, and what their students learn."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from nas.errors import InvalidInputError
from nas.finalists.plan import FinalJob
from search_spaces.registry import make_space
from search_spaces.zoo.export import export_model
from tests.zoo_entries import architecture, card_of, trained, weights_of
from workers.data.digits import load_digits_batches, open_digits
from workers.evaluate import EvaluationContext
from workers.evaluation import EvaluationConfig
from workers.finalists.training import FinalRung, train_finalist
from workers.recipe import Recipe
from workers.training.distillation import distillation_loss, load_teacher, locate
from workers.training.trainer import Trainer

CPU = torch.device("cpu")
DIGITS = open_digits()
RECIPE = Recipe(rungs=(2, 4), batch_size=32, learning_rate=5e-3, distillation_weight=0.7, distillation_temperature=3.0)


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that our own export wrote."""
    arch = architecture()
    zoo = tmp_path_factory.mktemp("zoo")
    return export_model(
        zoo=zoo, name="tutor", spec=arch.to_spec(), weights=weights_of(trained(arch)), card=card_of(arch)
    )


def saved_by_timm(folder: Path, **arguments: int) -> Path:
    torch.manual_seed(0)
    save_for_hf(timm.create_model("test_resnet", **arguments), folder, safe_serialization=True)
    return folder


def test_a_teacher_with_an_altered_byte_is_refused(entry: Path, tmp_path: Path) -> None:
    shutil.copytree(entry.parent, tmp_path / "zoo")
    weights = tmp_path / "zoo" / entry.name / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"tutor/model\.safetensors is not the file that was exported"):
        load_teacher(str(weights.parent), DIGITS, 32)


@pytest.mark.parametrize(
    ("names", "refused"),
    [("0123456789", False), ("0213456789", True), ("012345678x", True), ("abcdefghij", False)],
)
def test_a_teacher_of_other_classes_or_another_order_is_refused(entry: Path, names: str, refused: bool) -> None:
    """Names that have nothing in common may be the same classes in another language."""
    source = replace(DIGITS, label_names=tuple(names))
    if not refused:
        assert load_teacher(str(entry), source, 32)
        return
    with pytest.raises(InvalidInputError, match=r"other classes than the data, or in another order: .* are 0, 1"):
        load_teacher(str(entry), source, 32)


def test_soft_labels_are_hintons_and_hard_ones_are_deits() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    taught = torch.tensor([[2.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
    student = (logits / 3).softmax(1)
    teacher = (taught / 3).softmax(1)
    divergence = (teacher * (teacher / student).log()).sum(1).mean()
    assert distillation_loss(logits, taught, RECIPE) == pytest.approx(float(9 * divergence), rel=1e-5)
    hard = -logits.log_softmax(1)[torch.arange(2), torch.tensor([0, 0])].mean()
    assert distillation_loss(logits, taught, replace(RECIPE, distillation="hard")) == pytest.approx(
        float(hard), rel=1e-6
    )
    assert distillation_loss(taught, taught, RECIPE) == pytest.approx(0, abs=1e-6)


def test_a_teacher_that_we_exported_sees_what_it_was_trained_on(entry: Path) -> None:
    network = trained(architecture())
    images = torch.randn(4, 1, 32, 32)
    config = json.loads((entry / "config.json").read_text())["pretrained_cfg"]
    pixels = images * DIGITS.std[0] + DIGITS.mean[0]
    with torch.inference_mode():
        expected = network((pixels - config["mean"][0]) / config["std"][0])
        for text in (str(entry), f"local-dir:{entry}"):
            assert torch.allclose(load_teacher(text, DIGITS, 32)(images), expected, atol=1e-4)
    teacher = load_teacher(str(entry), DIGITS, 32)
    assert teacher.identity.startswith("tutor sha256:") and str(entry.parent) not in teacher.identity
    assert not teacher.training and not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teacher_is_found_from_elsewhere(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(entry.parent)
    assert locate("tutor") == locate(f"local-dir:{entry}") == f"local-dir:{entry}"
    assert locate("resnet18.a1_in1k") == "resnet18.a1_in1k"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 7, "in_chans": 1}, "has 7 classes, the data 10; give one that was trained on these classes"),
        ({"num_classes": 10, "in_chans": 3}, "has 3 image channels, the data 1"),
    ],
)
def test_a_teacher_of_other_data_is_refused(arguments: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_teacher(str(saved_by_timm(tmp_path, **arguments)), DIGITS, 32)


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("resnet99", "Unknown model"),
        (str(tmp_path), "Config file not found"),
        ("local-dir:/none", "not found"),
        ("zoo/none", "there is no such folder"),
    ):
        with pytest.raises(
            InvalidInputError, match=f"teacher '{text}' cannot be loaded .*{message}.*; expected a folder as"
        ):
            load_teacher(text, DIGITS, 32)
    folder = saved_by_timm(tmp_path / "damaged", num_classes=10, in_chans=1)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InvalidInputError, match="damaged' cannot be loaded"):
        load_teacher(str(folder), DIGITS, 32)


def test_a_teacher_that_wants_larger_images_is_refused(tmp_path: Path) -> None:
    save_for_hf(
        timm.create_model("deit_tiny_patch16_224", num_classes=10, in_chans=1), tmp_path, safe_serialization=True
    )
    with pytest.raises(InvalidInputError, match="cannot look at images of 32 pixels"):
        load_teacher(str(tmp_path), DIGITS, 32)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_loss_is_shared_between_labels_and_teacher(kind: str, entry: Path) -> None:
    teacher = load_teacher(str(entry), DIGITS, 32)
    recipe = replace(RECIPE, distillation=kind, mixup=0.8, cutmix=1.0).taught_by(teacher.identity)
    batches = load_digits_batches(DIGITS, recipe, CPU)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    def first_loss(recipe: Recipe, teacher: nn.Module | None, parts: int = 1) -> tuple[float, torch.Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
        seen = list[torch.Tensor]()
        model.register_forward_hook(lambda module, inputs, output: seen.extend([inputs[0].detach(), output.detach()]))
        trainer = Trainer(
            model,
            batches,
            recipe,
            num_classes=10,
            teacher=teacher,
            micro_batches=parts,
            seed=0,
            device=CPU,
            computing=nullcontext,
        )
        loss = trainer.advance(1)
        assert teacher is None or not teacher.training
        with torch.inference_mode():
            return loss, distillation_loss(seen[1], load_teacher(str(entry), DIGITS, 32)(seen[0]), recipe)

    labels_only, _ = first_loss(replace(recipe, teacher=""), None)
    loss, taught = first_loss(recipe, teacher)
    assert loss == pytest.approx(0.3 * labels_only + 0.7 * float(taught), rel=1e-5)
    assert first_loss(recipe, teacher, parts=2)[0] == pytest.approx(loss, rel=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items()), (
        "nobody trains the teacher"
    )


def test_a_finalist_is_taught_and_another_teacher_is_noticed(entry: Path, tmp_path: Path) -> None:
    recipe = RECIPE.taught_by(load_teacher(str(entry), DIGITS, 32).identity)
    space = make_space("conv_only", "nano", 32, 1, 10)
    spec = space.architecture(space.sample(np.random.default_rng(0))).to_spec()
    config = EvaluationConfig(
        data="digits", recipe=recipe, teacher=locate(str(entry)), lock_folder=str(tmp_path / "locks")
    )
    plain = replace(config, recipe=replace(RECIPE, distillation_weight=0.5, distillation_temperature=4.0), teacher=None)
    losses = []
    for one in (EvaluationConfig.from_json(config.to_json()), plain):
        job = FinalJob(0, spec, one.recipe.to_json(), one.recipe.hash, 1, "tuning")
        events = list(train_finalist(job, EvaluationContext(one), tmp_path))
        losses.append([event.score.loss for event in events if isinstance(event, FinalRung)])
    assert len(losses[0]) == len(losses[1]) == 2
    assert all(abs(taught - alone) > 0.01 for taught, alone in zip(*losses, strict=True))
    with pytest.raises(
        InvalidInputError, match=r"is tutor sha256:[0-9a-f]{16} on this host, expected tutor sha256:0000;"
    ):
        EvaluationContext(replace(config, recipe=replace(recipe, teacher="tutor sha256:0000")))


def test_a_recipe_that_speaks_of_a_teacher_needs_one() -> None:
    assert RECIPE.taught_by("x").teacher == "x"
    with pytest.raises(
        InvalidInputError, match="the recipe gives distillation_weight, and there is no teacher; name one with finalize"
    ):
        RECIPE.taught_by(None)
