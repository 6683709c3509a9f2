"""The table of exports holds for a convolution and an attention, and tells what fails."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import exports
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.mixer_sets import SETS
from search_spaces.network.mixers.full import FullAttention
from search_spaces.zoo.onnx import PACKAGES

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="the extra `onnx` is not installed"
)
FAST = ("bf16", "channels_last", "script", "export")


@pytest.mark.parametrize("name", ["mbconv", "full"])
def test_two_mixers_run_everywhere(name: str) -> None:
    assert exports.row(name, FAST) == [exports.YES] * len(FAST)


@needs_onnx
def test_a_file_for_onnxruntime_gives_the_same_logits() -> None:
    assert exports.row("group_mix", ["ONNX"]) == [exports.YES]


@pytest.mark.parametrize("name", SETS["all"])
def test_every_mixer_stands_in_a_network_of_its_own(name: str) -> None:
    (block,) = exports.network(name).stages[0].blocks
    assert name in (block.conv, block.attention, block.ffn)


def test_a_reason_that_is_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "full", replace(KINDS["full"], onnx="no operator for it"))
    assert exports.row("full", ["ONNX"]) == ["full (no operator for it)"]


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.bfloat16:
            return x / 0
        return x + (1.0 if torch.compiler.is_compiling() else 0.0)

    monkeypatch.setattr(FullAttention, "forward", forward)
    bf16, export = exports.row("full", ["bf16", "export"])
    assert bf16.startswith("not finite: logits, ") and export.startswith("logits differ by ")
