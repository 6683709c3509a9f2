import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import InvalidInputError, NasError
from search_spaces.zoo import onnx as onnx_export
from search_spaces.zoo.export import export_model
from search_spaces.zoo.onnx import export_onnx
from tests.zoo_entries import architecture, card_of, trained, weights_of

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in onnx_export.PACKAGES),
    reason="the extra `onnx` is not installed",
)


@needs_onnx
@pytest.mark.parametrize("seed", [0, 6])
def test_onnxruntime_gives_the_logits_of_torch_for_any_batch(tmp_path: Path, seed: int) -> None:
    import onnxruntime

    arch = architecture(seed)
    model = trained(arch)
    folder = export_model(
        zoo=tmp_path, name="m", spec=arch.to_spec(), weights=weights_of(model), card=card_of(arch), onnx=True
    )
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(4, 1, 32, 32)
    for batch in (images[:1], images):
        with torch.inference_mode():
            expected = model(batch).numpy()
        np.testing.assert_allclose(session.run(["logits"], {"image": batch.numpy()})[0], expected, rtol=1e-4, atol=1e-4)
    assert "- `model.onnx`: the same network" in (folder / "README.md").read_text()
    (entry,) = json.loads((tmp_path / "index.json").read_text())["models"]
    assert "model.onnx" in entry["sha256"]


@needs_onnx
def test_a_file_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    class Lies(nn.Module):
        """Adds one unless it is being exported."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) + (0.0 if torch.compiler.is_compiling() else 1.0)

    with pytest.raises(
        NasError,
        match=r"the ONNX file differs from torch by up to 1 in a logit for a batch of 1; export without --onnx",
    ):
        export_onnx(Lies(), (3, 8, 8), tmp_path / "model.onnx")


@needs_onnx
def test_a_refused_file_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "ABSOLUTE", 0.0)
    monkeypatch.setattr(onnx_export, "RELATIVE", -1.0)  # nothing is near enough
    arch = architecture(0)
    with pytest.raises(NasError, match="differs from torch"):
        export_model(
            zoo=tmp_path,
            name="m",
            spec=arch.to_spec(),
            weights=weights_of(trained(arch)),
            card=card_of(arch),
            onnx=True,
        )
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx_that_is_not_there",))
    arch = architecture(0)
    with pytest.raises(
        InvalidInputError,
        match=r"onnx_that_is_not_there cannot be imported .*; install this project with the extra `onnx`",
    ):
        export_model(
            zoo=tmp_path,
            name="m",
            spec=arch.to_spec(),
            weights=weights_of(trained(arch)),
            card=card_of(arch),
            onnx=True,
        )
    assert list(tmp_path.iterdir()) == []
