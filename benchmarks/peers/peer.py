"""The peer's end of the protocol: JSON objects, one a line, over standard input and output.

This file runs in the peer's environment and needs the standard library alone. What comes in, and the answers:

    {"start": {"genes": [{"levels": 3, "ordered": false}, ...], "reference_point": [9.0, 18.5], "seed": 0,
               "budget": 100}}
                    {"version": "1.2.3", "processor_s": 4.5}
    {"ask": null}   {"levels": [0, 2, ...], "processor_s": 4.6}
    {"tell": {"levels": [0, 2, ...], "error_percent": 7.5, "log_cost": 3.2}}
                    no answer

Processor time is that of the process so far. An architecture may be told that was not asked for, and one that was told
before may be told again. Standard input ends where the search ends.
"""

import json
import os
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TextIO

Levels = list[int]
"""Level index of each gene."""


@dataclass(frozen=True)
class Gene:
    """A variable with the values 0, 1, ..., levels - 1."""

    levels: int
    ordered: bool
    """Whether neighbouring values are alike; else they are categories."""


@dataclass(frozen=True)
class Problem:
    """What a peer is to search."""

    genes: Sequence[Gene]
    reference_point: tuple[float, float]
    """(error in percent, ln cost) of the hypervolume that is measured. An engine whose documentation prefers that to a
    guess of its own is told; ours is not."""
    seed: int
    budget: int
    """Distinct architectures that will be trained."""

    @property
    def names(self) -> list[str]:
        """A name for each gene."""
        return [f"g{i}" for i in range(len(self.genes))]


class Peer(ABC):
    """A search that minimises two objectives, error and ln cost."""

    @abstractmethod
    def ask(self) -> Levels:
        """The architecture to train next."""

    @abstractmethod
    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        """Take in a result, of the last ask or of an architecture that somebody else chose."""


def serve(start: Callable[[Problem], Peer], distribution: str) -> None:
    """Answer until standard input ends.

    Some engines draw from global generators whatever seed they are given, so these have the seed of the search.

    Args:
        start: makes the peer.
        distribution: package whose version is named.
    """
    answers = _own_stdout()
    peer: Peer | None = None
    for line in sys.stdin:
        [(word, content)] = json.loads(line).items()
        if word == "start":
            genes = [Gene(**gene) for gene in content["genes"]]
            error_percent, log_cost = content["reference_point"]
            _seed_global_generators(content["seed"])
            peer = start(Problem(genes, (error_percent, log_cost), content["seed"], content["budget"]))
            _answer(answers, {"version": version(distribution)})
            continue
        assert peer is not None, "the first line is start"
        if word == "ask":
            _answer(answers, {"levels": [int(level) for level in peer.ask()]})
        else:
            peer.tell(**content)


def _seed_global_generators(seed: int) -> None:
    """Those of the standard library, and of numpy and torch where the engine has loaded them."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _own_stdout() -> TextIO:
    """Standard output, for answers alone: what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, content: dict[str, object]) -> None:
    answers.write(json.dumps({**content, "processor_s": time.process_time()}) + "\n")
    answers.flush()
