"""Presets through TorchScript, symbolic tracing, torch.export, ONNX and torch.compile: the same numbers everywhere."""

from pathlib import Path

import pytest
import torch
from timm.layers.config import set_scriptable
from timm.models._features_fx import get_notrace_functions, get_notrace_modules
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from search_spaces.zoo.onnx import export_onnx
from tests.models import DEPLOYED, ONE_PER_FAMILY, images, shallow


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_torchscript_computes_the_same(name: str) -> None:
    model = shallow(name).eval()
    with set_scriptable(True):
        scripted = torch.jit.script(shallow(name).eval())
    with torch.inference_mode():
        for size in (32, 64):
            torch.testing.assert_close(scripted(images(size)), model(images(size)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_PER_FAMILY)
def test_symbolic_tracing_gives_the_model_and_its_gradients(name: str) -> None:
    model = shallow(name)
    tracer = {"leaf_modules": list(get_notrace_modules()), "autowrap_functions": list(get_notrace_functions())}
    train_nodes, eval_nodes = get_graph_node_names(model, tracer_kwargs=tracer)
    traced = create_feature_extractor(
        model, train_return_nodes=[train_nodes[-1]], eval_return_nodes=[eval_nodes[-1]], tracer_kwargs=tracer
    )
    with torch.no_grad():
        torch.testing.assert_close(*traced.eval()(images()).values(), model.eval()(images()))
    next(iter(traced.train()(images(64, 2)).values())).mean().backward()
    assert all(parameter.grad is not None for parameter in traced.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPLOYED)
def test_export_gives_a_program_that_computes_the_same(name: str) -> None:
    model = shallow(name).eval()
    program = torch.export.export(model, (images(),)).module()
    with torch.no_grad():
        torch.testing.assert_close(program(images()), model(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPLOYED)
def test_onnx_file_computes_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    # export_onnx compares onnxruntime with torch and raises where they differ.
    export_onnx(shallow(name), (3, 64, 64), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 10**6


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPLOYED)
def test_compiling_meets_no_graph_break(name: str) -> None:
    model = shallow(name).eval()
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images()), model(images()), rtol=1e-4, atol=1e-5)
