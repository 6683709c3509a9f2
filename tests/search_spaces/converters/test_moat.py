"""MOAT's TensorFlow variables through ours."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import InvalidInputError
from search_spaces.build import build_model
from search_spaces.checkpoints import require_match
from search_spaces.converters.blocks import split_names
from search_spaces.converters.moat import convert, convert_block
from search_spaces.network.blocks import make_block
from search_spaces.network.downsamples.mbconv_moat_plain import MOATPlainDownsample
from search_spaces.published.families import PRESETS
from tests.golden_mixers import DATA, TOLERANCE, difference, load

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def published(name: str) -> dict[str, torch.Tensor]:
    """Variables of the preset's network under TensorFlow's names, with random values."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    architecture = PRESETS[name].architecture
    width = architecture.stem.width
    shapes |= conv("moat/stem/conv_0", 3, width, 3) | norm("moat/stem/norm_0", width)
    shapes |= conv("moat/stem/conv_1", width, width, 3)
    for number, (stage, side) in enumerate(zip(architecture.stages, architecture.map_sizes(), strict=True)):
        depth = len(stage.blocks) + (number < 2)
        for index in range(depth):
            place = f"moat/block_{number:02d}_{index:02d}"
            shapes |= block(
                place, stage.width if index else width, stage.width, number >= 2, name != "moat_tiny_0", side
            )
        width = stage.width
    shapes |= {f"moat/final_layer_norm/{leaf}": (width,) for leaf in NORM[:2]} | conv(
        "moat/logits_head", width, 1000, 1
    )
    return {key: torch.from_numpy(rng.random(shape, dtype=np.float32)) for key, shape in shapes.items()}


def conv(place: str, in_width: int, width: int, kernel: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    weight = {f"{place}/kernel": (kernel, kernel, in_width, width)}
    return weight | ({f"{place}/bias": (width,)} if bias else {})


def norm(place: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{place}/{leaf}": (width,) for leaf in NORM}


def block(
    place: str, in_width: int, width: int, attends: bool, has_table: bool, side: int
) -> dict[str, tuple[int, ...]]:
    hidden = 4 * width
    shapes = norm(f"{place}/pre_norm", in_width) | conv(f"{place}/expand_conv", in_width, hidden, 1, bias=False)
    shapes |= norm(f"{place}/expand_norm", hidden) | norm(f"{place}/depthwise_norm", hidden)
    shapes |= {f"{place}/depthwise_conv/depthwise_kernel": (3, 3, hidden, 1)}
    shapes |= conv(f"{place}/shrink_conv", hidden, width, 1)
    if in_width != width:
        shapes |= conv(f"{place}/shortcut_conv", in_width, width, 1)
    if not attends:
        squeeze = width // 4
        shapes |= conv(f"{place}/se/reduce_conv2d", hidden, squeeze, 1)
        return shapes | conv(f"{place}/se/expand_conv2d", squeeze, hidden, 1)
    heads = width // 32
    shapes |= {f"{place}/attention_norm/{leaf}": (width,) for leaf in NORM[:2]}
    for stream in "qkv":
        shapes |= {f"{place}/attention/{stream}/weight": (width, heads, 32)}
        shapes |= {f"{place}/attention/{stream}/bias": (heads, 32)}
    shapes |= {f"{place}/attention/o/weight": (heads, 32, width), f"{place}/attention/o/bias": (width,)}
    table = {f"{place}/attention/relative_position_embedding": (heads, 2 * side - 1, 2 * side - 1)}
    return shapes | (table if has_table else {})


@pytest.mark.parametrize("name", ["moat_tiny_0", "moat_tiny_0_tables"])
def test_released_variables_fill_every_parameter(name: str) -> None:
    variables = published(name)
    weights = convert(variables)
    architecture = PRESETS[name].architecture
    require_match(weights, architecture, "MOAT")
    build_model(architecture).load_state_dict(weights)
    theirs = torch.cat([value.flatten() for value in variables.values()])
    ours = torch.cat([value.flatten() for value in weights.values() if value.dim()])
    torch.testing.assert_close(ours.sort().values, theirs.sort().values)
    q = variables["moat/block_02_03/attention/q/weight"]
    rows = weights["stages.2.blocks.3.1.mixer.qkv.weight"][: q.shape[0]]
    torch.testing.assert_close(rows[32:64], q[:, 1].T)


def test_a_released_strided_block_is_our_downsampling_and_an_attention() -> None:
    config, variables, tensors = load(DATA / "moat_block_stride2.npz")
    weights = convert_block({name.removeprefix("moat/"): value for name, value in variables.items()})
    convolved, attended = split_names(weights, ("shortcut.", "bottleneck."))
    downsample = MOATPlainDownsample(config["in_dim"], config["dim"], config["stride"], 7)
    downsample.load_state_dict(convolved)
    spec = replace(PRESETS["moat_0"].architecture.stages[2].blocks[0], heads=2, head_dim=config["head_size"])
    block = make_block(config["dim"], {**asdict(spec), "map_size": 7}, 0.0)
    block.load_state_dict(attended)
    network = nn.Sequential(downsample, block).eval()
    with torch.inference_mode():
        ours = network(tensors["x"].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert difference(ours, tensors["y"]) <= TOLERANCE


def test_anything_else_is_refused() -> None:
    variables = published("moat_tiny_0")
    with pytest.raises(InvalidInputError, match=r"entries that its network does not have: attention/k\.weight"):
        convert({key: value for key, value in variables.items() if "block_02_03/attention/q" not in key})
    with pytest.raises(InvalidInputError, match=r"entries that its network does not have: epoch"):
        convert({**variables, "epoch": torch.zeros(1)})
