"""Training-free proxies on every mixer of our spaces, against closed forms and slow definitions."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from search_spaces.architecture.kinds.kind import ATTENTION, CONV
from search_spaces.architecture.kinds.registry import names
from search_spaces.architecture.spec import Architecture
from search_spaces.build import build_model
from search_spaces.network.backbone import HybridBackbone
from search_spaces.registry import make_space
from workers.data.batches import Batch
from workers.training import zero_cost as module
from workers.training.zero_cost import az_nas, synflow, zero_cost_scores, zico

SPACE = make_space("hybrid_layout", "nano", 32, 1, 10, "all")
SHAPE = (1, 32, 32)
SCORES = {"synflow", "zico", "expressivity", "progressivity", "trainability"}


def architecture_of(mixer: str, **places: int) -> Architecture:
    """Every stage of this mixer alone; a gene of the stages by the place of its value, the smallest width and depth if
    none is given."""
    genotype = SPACE.sample(np.random.default_rng(0))
    role = "attention" if mixer in names(ATTENTION) else "conv"
    for gene in SPACE.genes:
        kind = gene.name.partition("_")[2]
        if kind in ("pattern", role):
            genotype[gene.name] = role if kind == "pattern" else mixer
        elif kind in ("width", "depth"):
            genotype[gene.name] = gene.values[places.get(kind, 0)]
    architecture = SPACE.architecture(SPACE.repair(genotype))
    assert isinstance(architecture, Architecture)
    return architecture


def build(mixer: str, **places: int) -> HybridBackbone:
    torch.manual_seed(0)
    return build_model(architecture_of(mixer, **places))


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(4, *SHAPE, generator=generator), torch.randint(10, (4,), generator=generator)) for _ in range(3)
    ]


@pytest.mark.parametrize("mixer", [*names(ATTENTION), *names(CONV)])
def test_every_mixer_has_every_score_and_keeps_its_weights(mixer: str, batches: list[Batch]) -> None:
    model = build(mixer)
    before = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    scores = zero_cost_scores(model, batches)
    assert scores.keys() == SCORES
    assert zero_cost_scores(model, batches) == scores
    assert all(
        torch.equal(before[name], value) and before[name].dtype == value.dtype
        for name, value in model.state_dict().items()
    )
    assert model.training and all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("mixer", ["full", "group_mix", "mbconv"])
def test_wider_and_deeper_flows_more(mixer: str, batches: list[Batch]) -> None:
    small = build(mixer)
    wide = build(mixer, width=-1)
    deep = build(mixer, depth=-1)
    assert small.num_features < wide.num_features
    assert synflow(small, SHAPE) < min(synflow(wide, SHAPE), synflow(deep, SHAPE))
    assert zico(small, batches) < min(zico(wide, batches), zico(deep, batches))


def test_synflow_of_linear_blocks_is_the_definition() -> None:
    model = build("dwconv")
    network = module._linearised(model)
    network(torch.ones(1, *SHAPE, dtype=torch.float64)).sum().backward()
    flow = sum(
        float((weight.grad * weight.detach()).sum()) for weight in network.parameters() if weight.grad is not None
    )
    assert synflow(model, SHAPE) == pytest.approx(math.log(flow), rel=1e-12)


def test_synflow_linearises_what_the_paper_does_not_know() -> None:
    network = module._linearised(build("group_mix"))
    assert not [child for child in network.modules() if isinstance(child, module.NORMS + module.ACTIVATIONS)]
    weights = dict(network.named_parameters())
    assert all((weight >= 0).all() for weight in weights.values())
    assert {weight.dtype for weight in weights.values()} == {torch.float64}
    assert all(not weight.any() for name, weight in weights.items() if name.endswith(".bias"))


@pytest.mark.parametrize("mixer", names(ATTENTION))
def test_synflow_scales_with_the_stem_and_does_not_overflow(mixer: str) -> None:
    # Without the means taken out, 30 blocks of group_mix or lka leave float64.
    deep = architecture_of(mixer)
    stages = tuple(replace(stage, blocks=stage.blocks * 10) for stage in deep.stages)
    torch.manual_seed(0)
    model = build_model(replace(deep, stages=stages))
    score = synflow(model, SHAPE)
    assert math.isfinite(score)
    with torch.no_grad():
        next(child for child in model.stem.modules() if isinstance(child, nn.Conv2d)).weight.mul_(1e30)
    assert synflow(model, SHAPE) == pytest.approx(score + 30 * math.log(10), rel=1e-9)


def test_zico_is_its_formula(batches: list[Batch]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(1024, 5), nn.Linear(5, 10))
    gradients = [
        torch.autograd.grad(cross_entropy(model(images), labels), (model[1].weight, model[2].weight))
        for images, labels in batches
    ]
    expected = 0.0
    for layer in zip(*gradients, strict=True):
        stacked = np.stack([gradient.numpy().astype(float) for gradient in layer])
        expected += math.log((np.abs(stacked).mean(axis=0) / stacked.std(axis=0)).sum())
    assert zico(model, batches) == pytest.approx(expected)


def test_gradients_that_do_not_differ_count_nothing(batches: list[Batch]) -> None:
    assert zico(nn.Sequential(nn.Flatten(), nn.Linear(1024, 10)), batches[:1] * 3) == 0


def test_a_score_that_is_not_finite_is_left_out(batches: list[Batch]) -> None:
    model = build("full")
    with torch.no_grad():
        model.head.fc.weight.fill_(math.nan)
    assert zero_cost_scores(model, batches).keys() == SCORES - {"synflow", "zico"}


def test_entropy_is_that_of_equal_components_and_of_one() -> None:
    orthogonal = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]]).view(1, 2, 2, 2)
    assert module._entropy(orthogonal) == pytest.approx(math.log(2))
    assert module._entropy(orthogonal[:, :1].expand(1, 2, 2, 2)) == pytest.approx(0, abs=1e-6)


def test_a_block_that_doubles_is_less_trainable_than_one_that_keeps() -> None:
    signs = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]]).view(1, 2, 2, 2)
    assert module._trainability(signs, signs) == pytest.approx(0, abs=1e-6)
    assert module._trainability(signs, 2 * signs) == pytest.approx(-0.5)
    assert module._trainability(signs, 0.5 * signs) == pytest.approx(-0.5)
    spread = torch.nn.functional.pixel_shuffle(torch.cat([signs, 0 * signs], dim=1), 2)
    assert module._trainability(signs, spread) == pytest.approx(0, abs=1e-6)


def test_az_nas_follows_its_seed() -> None:
    model = build("key_only")
    assert az_nas(model, (4, *SHAPE)) == az_nas(model, (4, *SHAPE)) != az_nas(model, (4, *SHAPE), seed=1)
