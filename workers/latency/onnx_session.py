"""A model as a session of onnxruntime on the CPU, ready to be timed."""

import copy
import tempfile
from pathlib import Path

import torch
from torch import nn

from search_spaces.zoo.onnx import export_onnx
from workers.latency.sampling import Forward
from workers.latency.target import LatencyTarget


def open_session(model: nn.Module, target: LatencyTarget, input_shape: tuple[int, int, int]) -> Forward:
    """Export the model, compare the file with torch, and give a call that runs one batch; the first run is done.

    Args:
        model: (batch, channels, height, width) images to logits; stays as it was.
        target: of kind onnxruntime.
        input_shape: (channels, height, width) of one image.

    Raises:
        InvalidInputError: if a package is missing.
        NasError: if the file gives other logits than the model.
    """
    import onnxruntime  # an extra: only this target needs it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads or 1
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="nas-onnx-") as folder, torch.inference_mode(False), torch.no_grad():
        path = Path(folder) / "model.onnx"
        export_onnx(copy.deepcopy(model), input_shape, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = torch.randn(target.batch, *input_shape, generator=torch.Generator().manual_seed(0)).numpy()

    def forward() -> object:
        return session.run(None, {"image": images})

    forward()
    return forward
