"""A network as an ONNX file that was compared with torch."""

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.errors import InvalidInputError, NasError, first_line

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
RELATIVE = 1e-3
ABSOLUTE = 1e-4
"""Largest accepted difference of a logit: two runtimes add float32 products in different order."""


def require_onnx() -> None:
    """Raises InvalidInputError naming the extra if a package is missing or broken."""
    for name in PACKAGES:
        try:
            with warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
        except (ImportError, OSError) as error:  # a library that it needs may be missing too
            raise InvalidInputError(
                f"ONNX was asked for and {name} cannot be imported ({first_line(error)}); "
                "install this project with the extra `onnx`"
            ) from error


def export_onnx(model: nn.Module, input_size: tuple[int, int, int], path: Path) -> None:
    """Write the model in inference mode, float32, for any batch size, and compare onnxruntime with torch on batches of
    one and three.

    Args:
        model: (B, C, H, W) -> (B, num_classes); left in inference mode.
        input_size: (C, H, W), fixed in the file.
        path: of the new file. Input and output are named "image" and "logits".

    Raises:
        InvalidInputError: if a package is missing.
        NasError: if torch cannot export the model, or the file gives other logits.
    """
    require_onnx()
    model = model.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, *input_size, generator=generator)
    try:
        with _quiet():
            torch.onnx.export(
                model,
                (images,),
                path,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise NasError(f"torch cannot export this network to ONNX: {first_line(error)}") from error
    _compare(model, images, path)


def _compare(model: nn.Module, images: torch.Tensor, path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images[:1], images):
        with torch.inference_mode():
            expected = model(batch).numpy()
        (given,) = session.run(["logits"], {"image": batch.numpy()})
        if not np.allclose(given, expected, rtol=RELATIVE, atol=ABSOLUTE):
            worst = np.abs(given - expected).max()
            raise NasError(
                f"the ONNX file differs from torch by up to {worst:.3g} in a logit for a batch of {len(batch)}; "
                "export without --onnx"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells its progress on standard output and warns of its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
