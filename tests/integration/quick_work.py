"""An evaluation that takes no time and misbehaves on demand, for tests of the Ray pool."""

import os
import signal
import sys
import time
from collections.abc import Generator
from typing import Any

from ray import cloudpickle

from nas.errors import InvalidInputError
from nas.protocols import Calibration, Event, Failed, Finished, Job, LatencyMeasured, RungReached
from nas.records import JSON, Latency, RungScore
from workers.cluster import actor as ray_worker
from workers.cluster.actor import Work
from workers.cluster.pool import RayPool

TIMEOUT_S = 2.0

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import tests


def _evaluate(job: Job, name: str) -> Generator[Event, bool, None]:
    """Does what job.spec["do"] says; "good" gives the events of a real evaluation."""
    number = job.trial_number
    match job.spec["do"]:
        case "hang":
            time.sleep(600)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nsecond line")
        case "bad":
            raise InvalidInputError("cannot be built\nsecond line")
        case "pid":
            yield Failed(number, name, str(os.getpid()), retryable=False)
        case "where":
            yield Failed(number, name, ray_worker.__file__, retryable=False)
    if not (yield LatencyMeasured(number, name, quick_latency())) or job.timing is not None:
        yield Finished(number, name, "cpu", None)
        return
    for rung in range(2):
        if job.spec["do"] == "die later":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(job.spec.get("rung_s", 0.0))
        score = RungScore(rung=rung, steps=10 * (rung + 1), top1=0.5, loss=1.0, duration_s=0.1)
        if not (yield RungReached(number, name, score, last=rung == 1)) and rung == 0:
            yield Finished(number, name, "cpu", None)
            return
    yield Finished(number, name, "cpu", b"weights" * 100_000)


def quick_latency() -> Latency:
    return Latency({"kind": "test"}, {}, 1.0, 0.9, 1.1, 1.2, 30)


def _open(config: JSON, name: str) -> str:
    if config.get("error"):
        raise InvalidInputError(config["error"])
    return name


def _calibrate(slowest: JSON, typical: JSON, name: str) -> Calibration:
    return Calibration(quick_latency(), 1.0)


WORK = Work(open=_open, evaluate=_evaluate, calibrate=_calibrate, fingerprint=lambda name: {"device_name": "test"})


def quick_job(number: int, do: str = "good", **more: Any) -> Job:
    return Job(number, {"do": do, **more}, seed=0)


def quick_pool(config: JSON | None = None, **options: Any) -> RayPool:
    return RayPool(
        config or {}, **{"num_workers": 2, "trial_timeout_s": TIMEOUT_S, "make_work": lambda: WORK, **options}
    )
