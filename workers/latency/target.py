"""What a latency is measured on: device, threads, batch, number format, compilation.

    cpu:threads=1,batch=1
    cuda:0,batch=64,dtype=bf16,compile
    onnxruntime:threads=2,batch=1

A kind, a colon, then options separated by commas. The device index (cuda only) is a bare number; every option has a
default, so `cpu`, `cuda` and `onnxruntime` alone are targets too.

A command reads its targets first, so torch, which takes seconds, is imported by what touches a device.
"""

import importlib.metadata
import importlib.util
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nas.errors import InvalidInputError
from nas.records import JSON
from search_spaces.architecture.used import onnx_problem
from workers.devices import GPU, memory_bytes, num_gpus
from workers.latency.reach import MAX_BATCH, lacks_compiler, lacks_threads

if TYPE_CHECKING:
    import torch

DTYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Bytes of a number, by the format's name; workers/latency/measure.py has torch's names."""
MEMORY_FORMATS = "contiguous", "channels_last"
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")

MAX_NUMBER = 999_999
"""Largest number that is read at all."""

_OPTIONS = {
    "cpu": ("threads", "batch", "dtype", "memory_format", "compile"),
    "cuda": ("index", "batch", "dtype", "memory_format", "compile"),
    "onnxruntime": ("threads", "batch"),
}
KINDS = tuple(_OPTIONS)
"""What a target can be; the function of a caller gives latencies of another kind."""
_DEFAULTS: dict[str, JSON] = {
    "cpu": {"threads": 1, "batch": 1, "dtype": "fp32", "memory_format": "contiguous"},
    "cuda": {"batch": 64, "dtype": "bf16", "memory_format": "channels_last"},
    "onnxruntime": {"threads": 1, "batch": 1, "dtype": "fp32", "memory_format": "contiguous"},
}
_CHOICES = {"dtype": tuple(DTYPE_BYTES), "memory_format": MEMORY_FORMATS, "compile": COMPILE_MODES}


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTarget:
    """One target; `parse` makes it from text and `str` gives the text back, every option spelled out."""

    kind: str
    """cpu and cuda run the model in torch; onnxruntime runs its ONNX file on the CPU."""
    index: int = 0
    """Which GPU, among those that this process sees; always 0 on a CPU."""
    threads: int | None
    """Intra-operator threads; None on a GPU, where the host's threads only launch kernels."""
    batch: int
    """Images per forward pass."""
    dtype: str
    """Number format of weights and input: a key of DTYPE_BYTES."""
    memory_format: str
    """Order of weights and input in memory: one of MEMORY_FORMATS."""
    compile: str | None = None
    """Mode of torch.compile: one of COMPILE_MODES; None runs the model as it is."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a target and check that this process can time on it.

        Raises:
            InvalidInputError: for an unknown kind or option, a value out of range, an option given twice, a GPU or
                cores that are not there, onnxruntime without its packages, or compile without a compiler that works.
        """
        target = cls.read(text)
        if target.kind == "cuda" and target.index >= num_gpus():
            found = f"{num_gpus()} of them" if num_gpus() else "none"
            raise _invalid(
                text,
                f"it needs GPU {target.index}, and torch sees {found} here",
                "a device that is there, for example cpu:threads=1",
            )
        if target.kind == "onnxruntime":
            from search_spaces.zoo.onnx import require_onnx  # here, like torch: a search on one thread needs none

            require_onnx()
        if (lacking := lacks_threads(target.threads or 1)) is not None:
            raise _invalid(text, lacking, "as many threads as there are cores, or fewer")
        if target.compile and (lacking := lacks_compiler(target.device.type)) is not None:
            raise _invalid(text, lacking, "a compiler that works: install it, or leave compile out")
        return target

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a target that this process need not reach.

        Raises:
            InvalidInputError: as `parse`, but for what is missing here.
        """
        kind, _, rest = text.partition(":")
        if kind not in _OPTIONS:
            raise _invalid(text, f"the kind {kind!r} is unknown", f"one of {', '.join(_OPTIONS)}")
        given = _read_options(text, kind, [item for item in rest.split(",") if item])
        return cls(**{"kind": kind, "threads": None, **_DEFAULTS[kind], **given})

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in _OPTIONS[self.kind]}
        options = [
            str(value) if name == "index" else f"{name}={value}" for name, value in values.items() if value is not None
        ]
        return f"{self.kind}:{','.join(options)}"

    def check_memory(self, input_shape: tuple[int, int, int]) -> None:
        """Refuse a batch that cannot be computed on the device, whatever the network.

        Args:
            input_shape: (channels, height, width) of one image.

        Raises:
            InvalidInputError: if the images and one copy of them take more than all its memory.
        """
        image_bytes = 2 * math.prod(input_shape) * DTYPE_BYTES[self.dtype]
        total = memory_bytes()
        if self.kind == "cuda":
            import torch

            total = torch.cuda.get_device_properties(self.device).total_memory
        if self.batch * image_bytes > total:
            raise _invalid(
                str(self),
                f"batch is {self.batch}, and its images need {self.batch * image_bytes / 2**30:,.0f} GiB of the "
                f"{total / 2**30:,.0f} GiB of the device",
                f"fewer than {total // image_bytes:,} images of {input_shape[1]} x {input_shape[2]} pixels",
            )

    def check_mixers(self, mixers: Iterable[str], advice: str) -> None:
        """Refuse mixers that the target's runtime cannot run.

        Args:
            mixers: names of those of a network or a space.
            advice: what to do instead.

        Raises:
            InvalidInputError: if there is one; the message names each with its reason.
        """
        problem = onnx_problem(mixers) if self.kind == "onnxruntime" else ""
        if problem:
            raise InvalidInputError(f"latency target {str(self)!r}: onnxruntime cannot run {problem}; {advice}")

    @property
    def device(self) -> "torch.device":
        import torch

        return torch.device("cuda", self.index) if self.kind == "cuda" else torch.device("cpu", 0)

    def settings(self) -> JSON:
        """What was asked for. The index is left out: equal GPUs give comparable numbers, and `fingerprint` tells
        unequal ones apart."""
        return {name: value for name, value in asdict(self).items() if name != "index"}

    def fingerprint(self, input_shape: tuple[int, int, int]) -> JSON:
        """All that makes timings comparable: settings, device, runtime, input. Two latencies belong together when it is
        equal.

        Args:
            input_shape: (channels, height, width) of one image.
        """
        device_name, runtime, version = _runtime(self)
        return {
            **self.settings(),
            "device_name": device_name,
            "runtime": runtime,
            "runtime_version": version,
            "image_size": list(input_shape),
        }


def text_of(fingerprint: JSON) -> str:
    """The target and device of a fingerprint, as `settings_of` reads them: cpu:threads=1,batch=1@DEVICE."""
    names = {field.name for field in fields(LatencyTarget)} & fingerprint.keys()
    said = {name: fingerprint[name] for name in names}
    target = LatencyTarget(**{"threads": None, **_DEFAULTS[fingerprint["kind"]], **said})
    return f"{target}@{fingerprint['device_name']}"


def settings_of(text: str) -> JSON:
    """What a fingerprint agrees with that is meant by TARGET, or by TARGET@DEVICE on the device of that name.

    Raises:
        InvalidInputError: as LatencyTarget.read.
    """
    target, at, device = text.partition("@")
    return LatencyTarget.read(target).settings() | ({"device_name": device} if at else {})


def default_target() -> str:
    """The target of a search that names none: the GPU if there is one, else one thread and one image on the CPU."""
    return GPU if num_gpus() else "cpu:threads=1,batch=1"


def _read_options(text: str, kind: str, items: Iterable[str]) -> JSON:
    given: JSON = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals and name.isdecimal():
            value = name
            name = "index"
        elif not equals and name == "compile":
            value = "default"
        if name not in _OPTIONS[kind]:
            raise _invalid(text, f"{item!r} is no option of {kind}", f"options among {', '.join(_OPTIONS[kind])}")
        if name in given:
            raise _invalid(text, f"{name} is given twice", "each option once")
        given[name] = _read_value(text, name, value)
    return given


def _read_value(text: str, name: str, value: str) -> Any:
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise _invalid(text, f"{name}={value} is unknown", f"{name} as one of {', '.join(_CHOICES[name])}")
        return value
    smallest = 0 if name == "index" else 1
    largest = MAX_BATCH if name == "batch" else MAX_NUMBER
    if not value.isdecimal() or len(value) > len(str(MAX_NUMBER)) or not smallest <= int(value) <= largest:
        raise _invalid(
            text,
            f"{name} is {value[:20]!r}" if value else f"{name} has no value",
            f"{name} as a whole number from {smallest} to {largest}",
        )
    return int(value)


def _invalid(text: str, problem: str, expected: str) -> InvalidInputError:
    examples = "cpu:threads=1,batch=1, cuda:0,batch=64,dtype=bf16,compile or onnxruntime:threads=2"
    return InvalidInputError(f"latency target {text!r}: {problem}; expected {expected} (examples: {examples})")


def _runtime(target: LatencyTarget) -> tuple[str, str, str]:
    """Name of the device, what runs there, and its version."""
    if target.kind == "onnxruntime":
        return _cpu_name(), "onnxruntime", importlib.metadata.version("onnxruntime")
    import torch

    name = torch.cuda.get_device_name(target.device) if target.kind == "cuda" else _cpu_name()
    return name, "torch", torch.__version__


def _cpu_name() -> str:
    """Model name, and the instruction set that torch uses, where there is torch. Virtual machines often hide the model;
    the instruction set still shows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    if importlib.util.find_spec("torch") is None:
        return name
    import torch

    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
