"""Time of each mixer at the four stages of GroupMixFormer-T, against the plain formulation of its paper and against a
floor.

    python -m benchmarks.mixers [--mixers group_mix key_only full ...] [--batch 1] [--threads 1] [--train] [--profile]
                                [--device cuda --dtype bfloat16] [--compile] [--default-heap]

ours: search_spaces/network/mixers, on the tokens of a channels_last network, with the knobs that a search sets at the
stage; mixer:form sets another form. plain: benchmarks/plain_*.py with the same weights, checked equal first, in outputs
and in gradients of inputs; AS_PRINTED names those whose formula ours computes operation by operation. floor: the
convolutions and linear layers that ours calls, at the same shapes, each on an input of its own that lies as it likes
best, and nothing else. Rounds alternate between the three; times are medians, ratios are medians of the rounds' ratios.
"""

import argparse
import copy
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from benchmarks.plain_attention import PRINTED_ATTENTION, Formulation
from benchmarks.plain_convolutions import PRINTED_CONVOLUTIONS
from benchmarks.plain_dynamic import PLAIN_DYNAMIC
from benchmarks.plain_mixers import PLAIN_MIXERS
from benchmarks.plain_pooled import PRINTED_POOLED
from search_spaces.architecture.kinds.kind import ATTENTION, Place
from search_spaces.architecture.kinds.registry import KINDS
from search_spaces.architecture.knobs import Options, set_knobs
from search_spaces.checkpoints import convert_groupmixformer_entries
from search_spaces.network.parts import find_part

STAGES = ((80, 56), (160, 28), (200, 14), (240, 7))
"""(channels, side of the map) of groupmixformer_tiny at 224 pixels."""
HEADS = 8
BUILT = PLAIN_MIXERS | PLAIN_DYNAMIC
"""Name -> plain module with weights of its own, of the form without knobs."""
PRINTED = {**PRINTED_ATTENTION, **PRINTED_POOLED, **PRINTED_CONVOLUTIONS}
"""Name, or name:form -> formulation over the weights of ours."""
AS_PRINTED = (
    "mbconv",
    "dwconv",
    "channel_group",
    "lka",
    "linear",
    "additive",
    "shsa",
    "mhca",
    "levit",
    "concentration",
)
"""Mixers that compute what is printed, operation by operation: a plain one would be the same."""
FORMS: Mapping[str, Callable[[int], dict[str, str | int]]] = {
    "grid:dynamic": lambda side: {"bias": "dynamic", "interval": side // 7},
    "pooled:averaged": lambda side: {"form": "averaged"},
    "pooled:raster": lambda side: {"form": "raster", "ratio": side // 7},
    "full:gated": lambda side: {"form": "gated"},
}
"""name:form -> its knobs at the side of a map."""
HALVED_HEADS = ("contmix",)
"""Mixers that halve the width of a head, which with 8 heads is odd in the third stage."""
BLOCK = "groupmixformer_backbone.0.gma_stage.0.att."

Step = Callable[[], object]


def knobs_of(case: str, place: Place) -> Options:
    """The knobs of a name, or of a name:form, at a stage."""
    name, _, form = case.partition(":")
    if form:
        return set_knobs(KINDS[name].options, **FORMS[case](place.map_size))
    return () if name in BUILT else KINDS[name].searched(place)


def make_mixer(name: str, place: Place, heads: int, options: Options) -> nn.Module:
    """A mixer of so many heads, halved where HALVED_HEADS says so."""
    width = place.width
    segments = {"group_sizes": (1, 3, 5, 7), "conv_branch": True}
    conv = {"kernel": 7, "conv_ratio": 4, "se_ratio": 0.25, "layer_scale": 0.0}
    heads = heads // 2 if name in HALVED_HEADS else heads
    head_dim = 4 * width // (5 * heads) if name == "group_mix" else width // heads
    own = {"heads": heads, "head_dim": head_dim, "map_size": place.map_size, "options": options}
    mixer: nn.Module = find_part("mixers", name)(width, {**own, **segments, **conv})
    return mixer


class Tokens(nn.Module):
    """A mixer as (B, H, W, C) -> (B, H, W, C); convolution mixers take the same memory as a channels_last map.

    One that reads the block's input too is given the same tokens again.
    """

    def __init__(self, name: str, mixer: nn.Module) -> None:
        super().__init__()
        self.is_attention = KINDS[name].role == ATTENTION
        self.mixer = mixer
        self.reads_input = getattr(mixer, "reads_input", False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.reads_input:
            return self.mixer(x, x)
        out: torch.Tensor = (
            self.mixer(x) if self.is_attention else self.mixer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        )
        return out


class Printed(nn.Module):
    """A formulation over a copy of the mixer: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, formulation: Formulation, mixer: nn.Module) -> None:
        super().__init__()
        self.formulation = formulation
        self.mixer = copy.deepcopy(mixer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.formulation(self.mixer, x)


def make_pair(case: str, place: Place) -> tuple[Tokens, nn.Module | None]:
    """Ours and, where there is one, the plain mixer with the same weights."""
    torch.manual_seed(0)
    name = case.partition(":")[0]
    ours = Tokens(name, make_mixer(name, place, HEADS, knobs_of(case, place)))
    if case in PRINTED:
        return ours, Printed(PRINTED[case], ours.mixer)
    if case not in BUILT:
        return ours, None
    plain = BUILT[case](place.width)
    weights = plain.state_dict()
    if name == "group_mix":
        entries = convert_groupmixformer_entries({BLOCK + key: value for key, value in weights.items()})
        weights = {key.removeprefix("stages.0.blocks.0.mixer."): value for key, value in entries.items()}
    ours.mixer.load_state_dict(weights)
    return ours, plain


def step_of(function: Callable[..., Any], x: torch.Tensor, train: bool) -> Step:
    """One forward, or one forward and backward of a fixed gradient."""
    if not train:
        return lambda: function(x)
    gradient = torch.randn_like(x)

    def step() -> None:
        x.grad = None
        function(x).backward(gradient)

    return step


class Recorder(TorchFunctionMode):
    """Notes every call of a convolution or linear layer."""

    FUNCTIONS = (torch.nn.functional.linear, torch.nn.functional.conv2d, torch.conv2d)

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self.FUNCTIONS:
            self.calls.append((function, args, kwargs or {}))
        return function(*args, **(kwargs or {}))


def floor_of(mixer: nn.Module, x: torch.Tensor, train: bool) -> Step:
    """The recorded convolutions and linear layers, one behind the other and independent of each other."""
    with Recorder() as recorder, torch.no_grad():
        mixer(x)
    steps = [_replay(function, args, kwargs, train) for function, args, kwargs in recorder.calls]

    def run() -> None:
        for step in steps:
            step()

    return run


def _replay(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], train: bool) -> Step:
    lying = (
        torch.channels_last
        if args[0].dim() == 4 and function is not torch.nn.functional.linear
        else torch.contiguous_format
    )
    arguments = [torch.randn_like(args[0], memory_format=lying).requires_grad_(train)]
    for value in args[1:]:
        is_weight = isinstance(value, torch.Tensor)
        arguments.append(value.detach().clone().requires_grad_(train) if is_weight else value)
    if not train:
        return lambda: function(*arguments, **kwargs)
    gradient = torch.randn_like(function(*arguments, **kwargs))

    def step() -> None:
        for argument in arguments:
            if isinstance(argument, torch.Tensor):
                argument.grad = None
        function(*arguments, **kwargs).backward(gradient)

    return step


def seconds(step: Step, device: str) -> float:
    """Processor time with one thread, which other programs do not lengthen by taking turns; wall time with more; events
    on a GPU."""
    if device == "cpu":
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        step()
        return clock() - start
    begin = torch.cuda.Event(enable_timing=True)
    end = torch.cuda.Event(enable_timing=True)
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3


def measure(steps: Sequence[Step], device: str, rounds: int) -> list[list[float]]:
    """Seconds of each step in each round; after three rounds of warming up, the steps take turns."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 3):
        for step, samples in zip(steps, times, strict=True):
            duration = seconds(step, device)
            if number >= 3:
                samples.append(duration)
    return times


def require_equal(ours: nn.Module, plain: nn.Module, x: torch.Tensor) -> None:
    """Outputs and input gradients agree, in the precision of the benchmark."""
    results = []
    # Not the sum of squares: behind a BatchNorm in training it is the same whatever stands before.
    gradient = torch.randn_like(x)
    for module in (ours, plain):
        given = x.detach().clone().requires_grad_()
        out = module(given)
        out.backward(gradient)
        results.append((out.detach().float(), given.grad.float()))
    tolerance = max(1e-3, 10 * torch.finfo(x.dtype).eps)
    for name, mine, theirs in zip(("outputs", "gradients"), *results, strict=True):
        difference = ((mine - theirs).norm() / theirs.norm()).item()
        assert difference < tolerance, f"{name} differ by {difference:.2g} of their norm"


def settle_heap() -> None:
    """Let glibc keep freed memory instead of returning it to the system, where every pass would fault its pages in
    again.

    Freeing one large block raises the threshold for good. Otherwise the same code takes up to twice the time, or not,
    by what happened to lie on the heap before.
    """
    torch.empty(30 * 2**20, dtype=torch.uint8).fill_(1)


def bench(name: str, options: argparse.Namespace) -> None:
    print(f"\n{name}, {'forward and backward' if options.train else 'forward'}, batch {options.batch}")
    print(
        f"{'C':>4} {'N':>5} {'ours ms':>9} {'plain ms':>9} {'plain / ours':>12} {'floor ms':>9} {'plain / floor':>13}"
    )
    ratios = []
    caps = []
    for stage, (width, side) in enumerate(STAGES):
        ours, plain = make_pair(name, Place(stage, side, width))
        x = torch.randn(options.batch, side, side, width, device=options.device, dtype=options.dtype)
        modules = [module.to(options.device, options.dtype).train(options.train) for module in (ours, plain) if module]
        if plain is not None:
            require_equal(ours, plain, x)
        x.requires_grad_(options.train)
        runs = [torch.compile(module) if options.compile else module for module in modules]
        with torch.inference_mode(not options.train):
            steps = [*(step_of(run, x, options.train) for run in runs), floor_of(ours, x, options.train)]
            times = measure(steps, options.device, options.rounds)
        mine = times[0]
        theirs = times[1] if plain is not None else None
        floor = times[-1]
        row = f"{width:4} {side * side:5} {statistics.median(mine) * 1e3:9.3f}"
        if theirs is None:
            print(f"{row} {'':9} {'':12} {statistics.median(floor) * 1e3:9.3f}")
            continue
        ratios.append(statistics.median(b / a for a, b in zip(mine, theirs, strict=True)))
        caps.append(statistics.median(b / a for a, b in zip(floor, theirs, strict=True)))
        print(
            f"{row} {statistics.median(theirs) * 1e3:9.3f} {ratios[-1]:12.2f} "
            f"{statistics.median(floor) * 1e3:9.3f} {caps[-1]:13.2f}"
        )
    if not ratios:
        print("ours computes what is printed, operation by operation")
        return
    print(f"geometric mean {'':14} {math.prod(ratios) ** 0.25:12.2f} {'':9} {math.prod(caps) ** 0.25:13.2f}")


def profile(name: str, options: argparse.Namespace) -> None:
    """Where the first stage's time goes, operator by operator; copies are copy_, clone, contiguous and cat."""
    width, side = STAGES[0]
    ours, _ = make_pair(name, Place(0, side, width))
    ours.to(options.device, options.dtype).train(options.train)
    x = torch.randn(
        options.batch, side, side, width, device=options.device, dtype=options.dtype, requires_grad=options.train
    )
    step = step_of(ours, x, options.train)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if options.device != "cpu":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.inference_mode(not options.train):
        measure([step], options.device, 5)
        with torch.profiler.profile(activities=activities) as profiler:
            for _ in range(10):
                step()
    order = "self_cpu_time_total" if options.device == "cpu" else "self_device_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixers", nargs="+", choices=(*KINDS, *FORMS), default=[*KINDS, *FORMS])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--train", action="store_true", help="forward and backward instead of inference")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--dtype", default="float32", type=lambda text: getattr(torch, text), help="float32, bfloat16, float16"
    )
    parser.add_argument("--compile", action="store_true", help="ours and plain through torch.compile")
    parser.add_argument("--profile", action="store_true", help="operators of the first stage instead of the table")
    parser.add_argument("--default-heap", action="store_true", help="leave glibc's thresholds as they are")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not options.default_heap:
        settle_heap()
    device = (
        torch.cuda.get_device_name() if options.device == "cuda" else f"{platform.machine()}, {options.threads} threads"
    )
    print(f"torch {torch.__version__}, {device}, {options.dtype}{', compiled' if options.compile else ''}")
    for name in options.mixers:
        (profile if options.profile else bench)(name, options)


if __name__ == "__main__":
    main()
