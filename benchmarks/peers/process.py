"""The driver's end of the protocol: a peer in a process of its own, and the sampler that it is to the search."""

import contextlib
import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import NasError
from nas.records import JSON, Gene
from nas.tabular.recorded import Levels, RecordedProblem
from workers.processes import environment

ROOT = Path(__file__).parents[2]
CLOSING_S = 10
"""How long a peer may take to end once its input has."""
SETTINGS = {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1", "PYTHONHASHSEED": "0"}
"""Environment in which linear algebra and joblib take one thread, as our own sampler does, and in which sets have one
order."""
SHOWN = 200
"""Characters of an answer that a message repeats."""


class PeerProcess:
    """A peer that answers lines; to be used as a context."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        """Start it.

        Args:
            name: what messages call it.
            command: program and arguments; it runs in the root of the repository.
            log: file for what it prints to standard error; what torch compiles for it lies beside.

        Raises:
            NasError: if there is no such program.
        """
        self._name = name
        self._log = log
        self._genes: Sequence[Gene] = ()
        self._started_s = 0.0
        self.processor_s = 0.0
        """Processor time that the peer has taken since it was started, as of its last answer."""
        log.parent.mkdir(parents=True, exist_ok=True)
        compiled = {"TORCH_EXTENSIONS_DIR": str(log.absolute().with_suffix(".extensions"))}
        try:
            with log.open("wb") as errors, environment({**SETTINGS, **compiled, "PYTHONPATH": str(ROOT)}):
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=ROOT,
                )
        except OSError as error:
            raise NasError(f"the peer {name} cannot be started: {error}; make its environment again") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, the hard way where it does not end with its input."""
        assert self._process.stdin is not None and self._process.stdout is not None, "both are pipes"
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def start(self, problem: RecordedProblem, seed: int, budget: int) -> str:
        """Say what is to be searched; the version of the peer's library.

        Raises:
            NasError: if the peer ends or answers something else.
        """
        self._genes = problem.genes
        genes = [{"levels": len(gene.values), "ordered": gene.ordered} for gene in problem.genes]
        accuracy_percent, cost = problem.reference_point
        reference_point = [100 - accuracy_percent, math.log(cost)]
        self._send({"start": {"genes": genes, "reference_point": reference_point, "seed": seed, "budget": budget}})
        expected = 'expected {"version": TEXT, "processor_s": SECONDS}'
        version = str(self._answer("version", expected, lambda given: isinstance(given, str)))
        self._started_s = self.processor_s
        self.processor_s = 0.0
        return version

    def ask(self) -> Levels:
        """The architecture to train next.

        Raises:
            NasError: if the peer ends or answers something else.
        """
        self._send({"ask": None})
        expected = (
            f'expected {{"levels": [...], "processor_s": SECONDS}} with a level of each of the {len(self._genes)} genes'
        )
        return tuple(self._answer("levels", expected, self._is_architecture))

    def tell(self, levels: Levels, error_percent: float, log_cost: float) -> None:
        """Hand a result over.

        Raises:
            NasError: if the peer has ended.
        """
        self._send({"tell": {"levels": levels, "error_percent": error_percent, "log_cost": log_cost}})

    def _is_architecture(self, given: object) -> bool:
        if not isinstance(given, list) or len(given) != len(self._genes):
            return False
        return all(type(level) is int and level in gene.values for level, gene in zip(given, self._genes, strict=True))

    def _send(self, message: JSON) -> None:
        assert self._process.stdin is not None, "it is a pipe"
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _answer(self, word: str, expected: str, is_good: Callable[[object], bool]) -> Any:
        assert self._process.stdout is not None, "it is a pipe"
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        try:
            answer = json.loads(line)
            content = answer[word]
            self.processor_s = float(answer["processor_s"]) - self._started_s
        except (ValueError, KeyError, TypeError):
            content = None
        if not is_good(content):
            shown = line.decode(errors="replace").strip()[:SHOWN]
            raise NasError(f"the peer {self._name} answered {shown!r}; {expected}; what it printed is in {self._log}")
        return content

    def _ended(self) -> NasError:
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        return NasError(
            f"the peer {self._name} ended with code {code} before the search did, and last said: {said[:SHOWN]}; "
            f"all of it is in {self._log}"
        )


class PeerSampler(BaseSampler):
    """A peer as Optuna sees it, so that it runs in the loop of every other sampler."""

    def __init__(self, process: PeerProcess, problem: RecordedProblem) -> None:
        self._process = process
        self._cost = problem.cost
        self._names = [gene.name for gene in problem.genes]
        self._proposed: dict[str, int] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: the distributions come with the ask."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask the peer, unless the search has chosen the architecture itself."""
        if not trial.system_attrs.get("fixed_params"):
            self._proposed = dict(zip(self._names, self._process.ask(), strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int:
        """The gene's level in what the peer proposed."""
        return self._proposed[param_name]

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Tell the peer, on the axes over which hypervolume is measured."""
        if state == TrialState.COMPLETE and values is not None:
            levels = tuple(trial.params[name] for name in self._names)
            self._process.tell(levels, 100 * (1 - values[0]), math.log(self._cost(levels)))
