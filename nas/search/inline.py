"""Evaluate candidates with a function of the caller's, in the calling process: a search without Ray and without torch.

The evaluator honours nas.protocols.Evaluator, so loop, store, front and resume are those of any other search.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

from nas.errors import EvaluatorError
from nas.protocols import Calibration, Event, Failed, Finished, Job, LatencyMeasured, RungReached
from nas.records import JSON, Latency, ProcessId, RungScore

Evaluate = Callable[[JSON], float | tuple[float, float]]
"""Spec of an architecture -> top1 in [0, 1]; where a search needs latencies, (top1, milliseconds)."""

DATA = "own"
"""What stands for the data of a study that a function evaluated."""
RECIPE: JSON = {"name": "own evaluator", "rungs": [1], "batch_size": 1}
"""What stands for the recipe."""
TARGET: JSON = {"kind": "own", "device_name": "own evaluator", "runtime": "python", "runtime_version": ""}
"""Fingerprint of latencies that a function gave."""
WORKER = "this process"


class InlineEvaluator:
    """Calls the function for one job at a time, when the events of the job are asked for.

    What the function raises is a Failed with its reason, and so is a result that cannot be used; the search goes on.
    KeyboardInterrupt passes.
    """

    session_processes: tuple[ProcessId, ...] = ()
    """No process is started."""
    session_folder = ""

    def __init__(self, function: Evaluate, *, times: bool) -> None:
        """Take the function over.

        Args:
            function: called in the thread of the search.
            times: whether it gives milliseconds beside top1.
        """
        self._function = function
        self._times = times
        self._job: Job | None = None
        self._waits = False
        """Whether the job waits for an answer."""
        self._top1 = 0.0
        self._duration_s = 0.0
        self._ready: deque[Event] = deque()

    @property
    def num_workers(self) -> int:
        return 1

    def calibrate(self, slowest: JSON, typical: JSON) -> Calibration:
        """Call the function once, on `slowest`, where the reference is a latency; else nothing is measured.

        Raises:
            EvaluatorError: if that call fails.
        """
        if not self._times:
            return Calibration(None, 0.0)
        started = time.monotonic()
        try:
            _, ms = self._evaluate(slowest)
        except Exception as error:
            raise EvaluatorError(f"the slowest architecture cannot be evaluated: {_reason(error)}") from error
        return Calibration(_latency(ms), time.monotonic() - started)

    def submit(self, job: Job) -> None:
        """See Evaluator."""
        assert self._job is None, "more jobs than workers"
        self._job = job

    def answer(self, trial_number: int, proceed: bool) -> None:
        """See Evaluator."""
        job = self._job
        assert job is not None and self._waits, f"trial {trial_number} waits for no answer"
        self._end(job, trained=proceed and job.timing is None)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """See Evaluator. The function is called here, for as long as it takes."""
        if self._job is not None and not self._waits:
            self._begin(self._job)
        elif not self._ready:
            time.sleep(timeout_s)
        events = list(self._ready)
        self._ready.clear()
        return events

    def activities(self) -> Mapping[str, str]:
        """See Evaluator."""
        return {WORKER: "idle" if self._job is None else f"trial {self._job.trial_number}: evaluating"}

    def close(self) -> None:
        """Nothing is held."""

    def _begin(self, job: Job) -> None:
        started = time.monotonic()
        try:
            self._top1, ms = self._evaluate(job.spec)
        except Exception as error:
            self._job = None
            self._ready.append(Failed(job.trial_number, WORKER, _reason(error), retryable=False))
            return
        self._duration_s = time.monotonic() - started
        if self._times:
            self._waits = True
            self._ready.append(LatencyMeasured(job.trial_number, WORKER, _latency(ms)))
        else:
            self._end(job, trained=True)

    def _end(self, job: Job, trained: bool) -> None:
        self._job = None
        self._waits = False
        if trained:
            score = RungScore(rung=0, steps=1, top1=self._top1, loss=0.0, duration_s=self._duration_s)
            self._ready.append(RungReached(job.trial_number, WORKER, score, last=True))
        self._ready.append(Finished(job.trial_number, WORKER, WORKER, None))

    def _evaluate(self, spec: JSON) -> tuple[float, float]:
        """(top1, milliseconds); the latter is of no use where none are asked for.

        Raises:
            ValueError: if the function gives something else.
        """
        result = self._function(spec)
        expected = "(top1, milliseconds)" if self._times else "top1"
        values: object = result if self._times else (result, 1.0)
        match values:
            case (Real() as top1, Real() as ms) if math.isfinite(top1) and math.isfinite(ms):
                numbers = (float(top1), float(ms))
            case _:
                raise ValueError(f"the function gave {result!r}; expected {expected}, finite numbers")
        if not 0 <= numbers[0] <= 1 or numbers[1] <= 0:
            raise ValueError(f"the function gave {result!r}; expected a top1 from 0 to 1 and a time above 0")
        return numbers


def _latency(ms: float) -> Latency:
    """One number without spread."""
    return Latency(TARGET, {}, ms, ms, ms, ms, 1)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
