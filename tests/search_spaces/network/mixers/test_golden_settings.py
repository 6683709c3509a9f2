"""Settings of timm's modules that no golden file has, through the runners of golden data."""

import torch
from timm.models.convit import GPSA
from timm.models.davit import ChannelBlock
from timm.models.pvt_v2 import Attention
from torch import nn

from tests.golden_mixers import TOLERANCE, difference, run


def perturbed(module: nn.Module) -> nn.Module:
    """The module with random weights and biases."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


@torch.no_grad()
def test_gated_positions_keep_a_bias_of_queries_keys_and_values() -> None:
    theirs = perturbed(GPSA(32, num_heads=4, qkv_bias=True))
    config = {"system": "ConViT (timm)", "module": "GPSA", "heads": 4, "size": [7, 7], "layout": "BNC"}
    x = torch.randn(2, 49, 32)
    assert difference(run(config, theirs.state_dict(), x)["y"], theirs(x)) <= TOLERANCE


@torch.no_grad()
def test_pooled_attention_may_have_no_bias_of_queries_keys_and_values() -> None:
    theirs = perturbed(Attention(32, num_heads=4, sr_ratio=2, qkv_bias=False))
    config = {"system": "PVTv2 (timm)", "module": "Attention, sr_ratio 2", "heads": 4, "sr_ratio": 2}
    x = torch.randn(2, 120, 32)
    ours = run(config | {"size": [10, 12], "layout": "BNC"}, theirs.state_dict(), x)["y"]
    assert difference(ours, theirs(x, (10, 12))) <= TOLERANCE


@torch.no_grad()
def test_a_channel_block_may_have_no_bias_of_queries_keys_and_values() -> None:
    theirs = perturbed(ChannelBlock(32, 4, qkv_bias=False))
    config = {"system": "DaViT (timm)", "module": "ChannelBlock", "heads": 4, "mlp_ratio": 4, "layout": "NCHW"}
    x = torch.randn(1, 32, 10, 12)
    assert difference(run(config, theirs.state_dict(), x)["y"], theirs(x)) <= TOLERANCE
