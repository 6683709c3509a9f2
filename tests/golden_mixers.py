"""Golden data of published mixers through ours: the authors' weights, inputs and outputs.

Each family has a file in tests/golden/ with a table RUNNERS: a pattern that is searched in "system module source" of a
file's config, and what rebuilds the module from it.
"""

import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

Weights = dict[str, torch.Tensor]
Outputs = dict[str, torch.Tensor]
Runner = Callable[[dict[str, Any], Weights, torch.Tensor, dict[str, torch.Tensor]], Outputs]
"""(config, the authors' weights, x in the config's layout, further inputs) -> y and every other output of the file."""
DATA = Path(__file__).parent / "search_spaces" / "data" / "golden"
TOLERANCE = 1e-5


def run(config: dict[str, Any], weights: Weights, x: torch.Tensor, **inputs: torch.Tensor) -> Outputs:
    """What our mixer makes of x with the weights of a golden file: `y`, and every other output that the file stores."""
    with torch.no_grad():
        return find_runner(config)(config, weights, x, inputs)


def find_runner(config: dict[str, Any]) -> Runner:
    """The first whose pattern the config has.

    Raises:
        KeyError: if there is none.
    """
    text = " ".join(str(config.get(key, "")) for key in ("system", "module", "source"))
    for pattern, runner in _runners():
        if re.search(pattern, text):
            return runner
    raise KeyError(f"no runner for {text!r}")


def load(file: Path) -> tuple[dict[str, Any], Weights, dict[str, torch.Tensor]]:
    """config, weights, and every other tensor of a golden file by its name, without `aux.`."""
    stored = np.load(file, allow_pickle=False)
    config = json.loads(str(stored["config"]))
    tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "config"}
    weights = {name.removeprefix("w."): value for name, value in tensors.items() if name.startswith("w.")}
    others = {name.removeprefix("aux."): value for name, value in tensors.items() if not name.startswith("w.")}
    return config, weights, others


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """max|a - b| / max|b|."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _runners() -> Iterator[tuple[str, Runner]]:
    for file in sorted((Path(__file__).parent / "golden").glob("*.py")):
        yield from import_module(f"tests.golden.{file.stem}").RUNNERS
