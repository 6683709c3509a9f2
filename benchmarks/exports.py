"""Where each mixer runs: in bfloat16, in channels_last, compiled, scripted, exported, and in onnxruntime.

    python -m benchmarks.exports [--mixers window full conv_glu ...] [--no-compile] [--device cpu]

Each mixer and each searched feed-forward stands in a network of one stage and one block, for images of 32 pixels, with
the options that a search sets and random weights and statistics. Printed is a table of Markdown: yes, or the reason.

| column | yes means |
|---|---|
| bf16 | forward and backward are finite, converted by `.to(bfloat16)` and under autocast |
| channels_last | logits equal to 1e-4 |
| compile | torch.compile with fullgraph gives logits equal to 1e-4 |
| script | so does torch.jit.script |
| export | so does torch.export with any batch size, for batches of 1 and 3 |
| ONNX | so does onnxruntime with the file that a zoo entry has |
"""

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import InvalidInputError, NasError, first_line
from nas.records import Genotype
from search_spaces.architecture.block import StageSpec, StemSpec
from search_spaces.architecture.kinds.kind import CONV
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.spec import Architecture
from search_spaces.architecture.used import onnx_problem, used_mixers
from search_spaces.build import build_model
from search_spaces.frames import FRAMES, stage_blocks
from search_spaces.mixer_sets import SETS
from search_spaces.network.backbone import HybridBackbone
from search_spaces.zoo.onnx import export_onnx

IMAGE_SIZE = 32
MAP_SIZE = 8
SHAPES = ((48, 12), (32, 8), (64, 16), (96, 24))
"""(width, channels of a head) to be tried until one can be built."""
TOLERANCE = 1e-4
YES = "yes"
Check = Callable[[Architecture, HybridBackbone, Tensor], str]
"""(architecture, its network in inference mode, three images) -> YES or the reason."""
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, NasError)
"""What torch's compilers and exporters raise."""


def network(name: str) -> Architecture:
    """One block with the mixer, or with the feed-forward behind key-only attention.

    Raises:
        InvalidInputError: if it can be built at no shape.
    """
    problem = None
    for width, head_dim in SHAPES:
        stage = StageSpec(width, "none", 1, stage_blocks(_genes(name, width, head_dim), FRAMES["conv"], 0, MAP_SIZE))
        made = Architecture(StemSpec("conv", width, "batch"), (stage,), "batch", IMAGE_SIZE, 3, 10)
        try:
            return Architecture.from_spec(made.to_spec())
        except InvalidInputError as error:
            problem = error
    raise InvalidInputError(f"{name} can be built at none of {SHAPES}: {problem}")


def _genes(name: str, width: int, head_dim: int) -> Genotype:
    is_conv = name in KINDS and KINDS[name].role == CONV
    attention = name if name in KINDS and not is_conv else "key_only"
    genes: Genotype = {"pattern": "conv" if is_conv else "attention", "period": 1, "depth": 1, "width": width}
    genes |= {"attention": attention, "partner": "conv", "group_sizes": "1-3-5", "head_dim": head_dim}
    genes |= {"conv": name if is_conv else "dwconv", "kernel": 3, "ratio": 2}
    return genes if name in KINDS else {**genes, "ffn": name}


def settled(architecture: Architecture) -> HybridBackbone:
    """In inference mode, with noise on every parameter and statistics in the norms, so that no branch is silent."""
    torch.manual_seed(0)
    model = build_model(architecture).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        for _ in range(3):
            model(torch.rand(8, 3, IMAGE_SIZE, IMAGE_SIZE))
    return model.eval()


def in_bf16(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    converted = copy.deepcopy(model).train().to(torch.bfloat16)
    wrapped = copy.deepcopy(model).train()
    with torch.autocast(images.device.type, torch.bfloat16):
        logits = wrapped(images)
    problem = _backward(converted, converted(images.bfloat16())) or _backward(wrapped, logits)
    return problem or YES


def _backward(model: HybridBackbone, logits: Tensor) -> str:
    """What is not finite, or "" for nothing."""
    logits.float().square().sum().backward()
    results = {"logits": logits, **{name: parameter.grad for name, parameter in model.named_parameters()}}
    wrong = [name for name, result in results.items() if result is not None and not bool(result.isfinite().all())]
    return f"not finite: {', '.join(wrong)}" if wrong else ""


def in_channels_last(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    converted = copy.deepcopy(model).to(memory_format=torch.channels_last)
    return _compared(model, images, lambda batch: converted(batch.contiguous(memory_format=torch.channels_last)))


def compiled(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    try:
        return _compared(model, images, torch.compile(copy.deepcopy(model), fullgraph=True))
    finally:
        torch.compiler.reset()


def scripted(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    return _compared(model, images, torch.jit.script(copy.deepcopy(model)))


def exported(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    return _compared(model, images, program.module())


def in_onnxruntime(architecture: Architecture, model: HybridBackbone, images: Tensor) -> str:
    known = onnx_problem(used_mixers(architecture.to_spec()))
    if known:
        return known
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(copy.deepcopy(model).cpu(), (3, IMAGE_SIZE, IMAGE_SIZE), path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(batch: Tensor) -> Tensor:
        (logits,) = session.run(None, {"image": batch.cpu().numpy()})
        return torch.from_numpy(logits).to(batch.device)

    return _compared(model, images, run)


def _compared(model: HybridBackbone, images: Tensor, other: Callable[[Tensor], Tensor]) -> str:
    """YES if `other` gives the model's logits for one image and for all."""
    for batch in (images[:1], images):
        with torch.no_grad():
            difference = float((other(batch) - model(batch)).abs().max())
        if not difference <= TOLERANCE:
            return f"logits differ by {difference:.2g}"
    return YES


CHECKS: Mapping[str, Check] = {
    "bf16": in_bf16,
    "channels_last": in_channels_last,
    "compile": compiled,
    "script": scripted,
    "export": exported,
    "ONNX": in_onnxruntime,
}


def row(name: str, checks: Iterable[str], device: str = "cpu") -> list[str]:
    """YES or the reason for each of the checks."""
    architecture = network(name)
    model = settled(architecture).to(device)
    images = torch.rand(3, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    found = []
    for check in checks:
        try:
            with warnings.catch_warnings(action="ignore"):
                found.append(CHECKS[check](architecture, model, images))
        except FAILURES as error:
            found.append(f"{type(error).__name__}: {first_line(error)}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixers", nargs="+", choices=SETS["all"], default=list(SETS["all"]))
    parser.add_argument("--no-compile", action="store_true", help="leave out what takes longest")
    parser.add_argument("--device", default="cpu", help="of all but the ONNX file")
    options = parser.parse_args()
    checks = [check for check in CHECKS if check != "compile" or not options.no_compile]
    print(f"torch {torch.__version__}, {options.device}\n")
    print(f"| mixer | {' | '.join(checks)} |\n|{'---|' * (len(checks) + 1)}")
    for name in options.mixers:
        print(f"| {name} | {' | '.join(row(name, checks, options.device))} |", flush=True)


if __name__ == "__main__":
    main()
