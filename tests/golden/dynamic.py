"""ATConv of AttNet, FFNified attention, DiCo, ContMix of OverLoCK and GhostNetV2's gate through ours."""

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import set_knobs
from search_spaces.checkpoints import renamed
from search_spaces.network.layers.activations import ACTIVATIONS
from search_spaces.network.layers.conv_position import ConvPosition
from search_spaces.network.mixers.contmix import DILATED_BRANCHES
from search_spaces.network.mixers.dfc import GatedGhost
from search_spaces.network.parts import find_part
from tests.golden_mixers import Outputs, Weights

Config = dict[str, Any]
Names = tuple[tuple[str, str], ...]

ATCONV_NAMES: Names = (
    (r"kernel_proj\.", "summary."),
    (r"kernel_gen\.", "make."),
    (r"x_proj\.", "value."),
    (r"difference_control$", "inhibition"),
    (r"proj\.", "proj."),
)
FFNIFIED_NAMES: Names = (
    (r"fc\.c\.", "query.conv."),
    (r"fc\.bn\.", "query.norm."),
    (r"conv1\.conv\.c\.", "keys.branches.0.conv."),
    (r"conv1\.conv\.bn\.", "keys.branches.0.norm."),
    (r"conv1\.conv1\.c\.", "keys.branches.1.conv."),
    (r"conv1\.conv1\.bn\.", "keys.branches.1.norm."),
    (r"conv2\.conv\.c\.", "values.branches.0.conv."),
    (r"conv2\.conv\.bn\.", "values.branches.0.norm."),
    (r"conv2\.conv1\.c\.", "values.branches.1.conv."),
    (r"conv2\.conv1\.bn\.", "values.branches.1.norm."),
    (r"conv1\.", "keys."),
    (r"conv2\.", "values."),
)
DICO_NAMES: Names = ((r"conv1\.", "proj_in."), (r"conv2\.", "conv."), (r"conv3\.", "proj."), (r"ca\.1\.", "gate."))
CONTMIX_NAMES: Names = (
    (r"rpb1$", "small.bias_table"),
    (r"rpb2$", "large.bias_table"),
    (r"weight_query\.0\.", "query.conv."),
    (r"weight_query\.1\.", "query.norm."),
    (r"weight_key\.1\.", "key.conv."),
    (r"weight_key\.2\.", "key.norm."),
    (r"weight_value\.0\.", "value.conv."),
    (r"weight_value\.1\.", "value.norm."),
    (r"weight_proj\.", "weigh."),
    (r"fusion_proj\.0\.", "fuse.conv."),
    (r"fusion_proj\.1\.", "fuse.norm."),
    (r"lepe\.0\.lk_origin\.", "local.0.branches.0.conv."),
    (r"lepe\.0\.origin_bn\.", "local.0.branches.0.norm."),
    (r"lepe\.0\.branch\.(\d+)\.", r"local.0.branches.\1."),
    (r"lepe\.1\.", "local.1."),
    (r"se_layer\.proj\.1\.", "excite.conv_reduce."),
    (r"se_layer\.proj\.3\.", "excite.conv_expand."),
    (r"gate\.0\.", "gate.conv."),
    (r"gate\.1\.", "gate.norm."),
    (r"proj\.0\.", "norm."),
    (r"proj\.1\.", "proj."),
)
GHOST_NAMES: Names = (
    (r"primary_conv\.0\.", "primary.conv."),
    (r"primary_conv\.1\.", "primary.norm."),
    (r"cheap_operation\.0\.", "cheap.conv."),
    (r"cheap_operation\.1\.", "cheap.norm."),
    (r"short_conv\.0\.", "gate.0.conv."),
    (r"short_conv\.1\.", "gate.0.norm."),
    (r"short_conv\.2\.", "gate.1.conv."),
    (r"short_conv\.3\.", "gate.1.norm."),
    (r"short_conv\.4\.", "gate.2.conv."),
    (r"short_conv\.5\.", "gate.2.norm."),
)


def run_atconv(config: Config, weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    """config: dim, kernel_size, act, layout."""
    mixer = make("atconv", config["dim"], kernel=config["kernel_size"])
    mixer.act = ACTIVATIONS[config.get("act", "gelu")]()
    return {"y": through(mixer, renamed(weights, ATCONV_NAMES), x, config)}


def run_ffnified(config: Config, weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    """config: dim, k1, k2, layout."""
    mixer = make("ffnified", config["dim"], keys=config["k1"], values=config["k2"])
    return {"y": through(mixer, renamed(weights, FFNIFIED_NAMES), x, config)}


def run_dico(config: Config, weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    """config: dim, layout."""
    return {"y": through(make("dico", config["dim"]), renamed(weights, DICO_NAMES), x, config)}


def run_dico_block(config: Config, weights: Weights, x: torch.Tensor, inputs: Outputs) -> Outputs:
    """config: dim, mlp_ratio, layout; c, (B, C), conditions the block."""
    own = {name: value for name, value in weights.items() if re.match(r"conv[123]|ca", name)}
    mixer = loaded(make("dico", config["dim"]), renamed(own, DICO_NAMES))
    c = F.linear(F.silu(inputs["c"]), weights["adaLN_modulation.1.weight"], weights["adaLN_modulation.1.bias"])
    shift1, scale1, gate1, shift2, scale2, gate2 = c[:, None, None].chunk(6, dim=3)
    x = as_tokens(x, config)
    x = x + gate1 * mixer(F.layer_norm(x, x.shape[3:], eps=1e-6) * (1 + scale1) + shift1)
    normed = F.layer_norm(x, x.shape[3:], eps=1e-6) * (1 + scale2) + shift2
    hidden = F.gelu(F.linear(normed, weights["conv4.weight"].flatten(1), weights["conv4.bias"]))
    fed = F.linear(hidden, weights["conv5.weight"].flatten(1), weights["conv5.bias"])
    return {"y": in_layout(x + gate2 * fed, config)}


def run_contmix(config: Config, weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    """config: dim, num_heads, kernel_size, smk_size, res_scale, layout. The scales of the residuals have a bias."""
    groups = 2 * config["num_heads"]
    mixer = make("contmix", config["dim"], heads=groups, kernel=config["kernel_size"], small=config.get("smk_size", 5))
    named = numbered_branches(weights, config["kernel_size"])
    loaded(mixer, renamed({name: value for name, value in named.items() if is_of_mixer(name)}, CONTMIX_NAMES))
    x = position(as_map(x, config), weights, "dwconv1")
    x = joined(x, mixer(layer_norm(x, weights, "norm1")).permute(0, 3, 1, 2), weights, "ls1", config)
    x = position(x, weights, "dwconv2")
    fed = contmix_ffn(layer_norm(x, weights, "norm2").permute(0, 3, 1, 2), weights)
    return {"y": in_layout(joined(x, fed, weights, "ls2", config).permute(0, 2, 3, 1), config)}


def is_of_mixer(name: str) -> bool:
    return not re.match(r"dwconv|norm\d|mlp|ls\d", name)


def numbered_branches(weights: Weights, kernel: int) -> Weights:
    """The dilated branches, dil_conv_kK_D and dil_bn_kK_D, as branch.N.conv and branch.N.norm by our order."""
    shapes = DILATED_BRANCHES[kernel]

    def place(match: re.Match[str]) -> str:
        number = shapes.index((int(match[2]), int(match[3]))) + 1
        return f"branch.{number}.{'conv' if match[1] == 'conv' else 'norm'}."

    return {re.sub(r"dil_(conv|bn)_k(\d+)_(\d+)\.", place, name): value for name, value in weights.items()}


def position(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    """x and its depthwise convolution."""
    module = ConvPosition(x.shape[1])
    conv = {f"conv.{part}": weights[f"{name}.{part}"] for part in ("weight", "bias")}
    return loaded(module, conv)(x)


def layer_norm(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    """A map (B, C, H, W) as normalised tokens."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)


def joined(x: torch.Tensor, branch: torch.Tensor, weights: Weights, name: str, config: Config) -> torch.Tensor:
    """x + branch with a factor and a bias per channel: on x with res_scale, else on the branch; without where there
    are none."""
    if f"{name}.weight" not in weights:
        return x + branch
    scale = weights[f"{name}.weight"].view(-1, 1, 1)
    bias = weights[f"{name}.bias"].view(-1, 1, 1)
    return x * scale + bias + branch if config.get("res_scale") else x + branch * scale + bias


def contmix_ffn(x: torch.Tensor, weights: Weights) -> torch.Tensor:
    """1x1, GELU, x + depthwise 3x3, global response norm (ConvNeXt V2), 1x1."""
    x = F.gelu(F.conv2d(x, weights["mlp.0.weight"], weights["mlp.0.bias"]))
    x = position(x, weights, "mlp.2")
    size = x.norm(dim=(2, 3), keepdim=True)
    response = size / (size.mean(dim=1, keepdim=True) + 1e-6)
    x = x + weights["mlp.3.gamma"] * x * response + weights["mlp.3.beta"]
    return F.conv2d(x, weights["mlp.4.weight"], weights["mlp.4.bias"])


def run_ghost(config: Config, weights: Weights, x: torch.Tensor, _: Outputs) -> Outputs:
    """config: in_chs, out_chs, layout."""
    module = GatedGhost(config["in_chs"], config["out_chs"])
    y = loaded(module, renamed(weights, GHOST_NAMES))(as_map(x, config))
    return {"y": in_layout(y.permute(0, 2, 3, 1), config)}


def make(name: str, width: int, heads: int = 1, **knobs: Any) -> nn.Module:
    options = set_knobs(KINDS[name].options, **knobs)
    mixer: nn.Module = find_part("mixers", name)(
        width, {"heads": heads, "head_dim": width // heads, "options": options}
    )
    return mixer


def loaded(module: nn.Module, weights: Weights) -> nn.Module:
    """The module with these weights; 1x1 convolutions may be linear layers in it."""
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    module.load_state_dict({name: value.view(shapes.get(name, value.shape)) for name, value in weights.items()})
    return module.eval()


def through(mixer: nn.Module, weights: Weights, x: torch.Tensor, config: Config) -> torch.Tensor:
    return in_layout(loaded(mixer, weights)(as_tokens(x, config)), config)


def as_tokens(x: torch.Tensor, config: Config) -> torch.Tensor:
    return x.permute(0, 2, 3, 1) if config["layout"][1] == "C" else x


def as_map(x: torch.Tensor, config: Config) -> torch.Tensor:
    return as_tokens(x, config).permute(0, 3, 1, 2)


def in_layout(tokens: torch.Tensor, config: Config) -> torch.Tensor:
    return tokens.permute(0, 3, 1, 2) if config["layout"][1] == "C" else tokens


RUNNERS = (
    ("ATConv", run_atconv),
    (r"FFNet.*Token_Mixer", run_ffnified),
    ("DiCoBlock, its convolution", run_dico),
    ("DiCoBlock", run_dico_block),
    ("ContMixBlock", run_contmix),
    ("GhostModuleV2", run_ghost),
)
