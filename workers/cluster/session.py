"""Ray for a search: start one for this process alone. workers/cluster/joining.py joins one that is there.

A local Ray has no dashboard, sends no usage statistics, wants a random token and keeps to a folder of its own under the
host's temporary files.
"""

import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray._private import node as ray_node
from ray._private import utils as ray_utils
from ray._private import worker as ray_worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.exceptions import RayError
from ray.job_config import JobConfig

from nas.errors import EvaluatorError
from workers.cluster.failures import describe
from workers.cluster.session_processes import (
    SESSION_VARIABLE,
    end_abandoned_sessions,
    end_processes,
    make_session_folder,
)
from workers.devices import num_gpus, require_gpus
from workers.processes import environment, signals_kept

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 200 * 2**20
"""Only trained weights pass through it; larger ones spill into the session's folder."""
INIT_ERRORS = (RuntimeError, ValueError, OSError, RayError)
"""What ray.init raises when it cannot do what it was asked for."""

UNUSED_HELPERS = "start_api_server", "start_monitor", "start_log_monitor"
"""Methods of Ray's node that start a Python each: for a dashboard, for a cluster that grows by itself, and for printing
what workers print. Nobody here uses these, and on two cores they took a second of each start."""
ROOT = Path(__file__).resolve().parents[2]
"""Folder of our packages."""
_TOKEN = secrets.token_hex(32)  # one per process, because Ray reads it once per process


def start_local(num_workers: int, gpus_per_worker: float) -> str:
    """Start a Ray for this process alone and return its folder.

    Raises:
        InvalidInputError: if this host has not the GPUs.
        EvaluatorError: if Ray does not start.
    """
    if gpus_per_worker:
        require_gpus(num_workers, gpus_per_worker)
    end_abandoned_sessions()
    folder = make_session_folder()
    variables = {
        SESSION_VARIABLE: folder,
        # With a token at hand and the mode unset, Ray demands the token from everybody. (Without one it would write its
        # own into the home.)
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_AUTH_MODE": None,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    try:
        with environment(variables), signals_kept():
            init_ray(
                [os.path.abspath(entry) for entry in sys.path],
                address="local",
                num_cpus=num_workers,
                num_gpus=num_gpus() if gpus_per_worker else 0,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",  # Ray opens its own folder to everybody; ours, above it, stays private
            )
    except BaseException as error:
        with signals_kept():
            ray.shutdown()
        end_processes((), folder)
        if isinstance(error, Exception):  # a host that is too busy gives a bare one
            raise EvaluatorError(f"a local Ray does not start: {describe(error)}") from error
        raise
    return folder


class _Path(JobConfig):
    """Where the workers look for modules.

    Ray would put the current folder before everything else, where any torch.py or workers.py of the user's would
    replace ours.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        super().__init__()
        self._folders = folders

    def _get_proto_job_config(self) -> Any:
        # Each worker puts one after the other in front.
        self._py_driver_sys_path = list(reversed(self._folders))
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


def init_ray(path: Sequence[str], **arguments: Any) -> None:
    """ray.init, quiet, and without a trace of our command line.

    Args:
        path: folders in which the workers look for modules before they look where Python does by itself.
    """
    # Ray reads its settings and token once per process, and an earlier Ray may have had others.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    # Errors reach us as exceptions; those that nobody waits for any more are no news.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    # Messages about dead workers would go to stdout, through our progress display, with log_to_driver=False too.
    ray_worker.print_to_stdstream = _log_message
    # Ray records the command line of its driver, and ours may hold the password of a storage URL.
    ray_utils.get_entrypoint_name = lambda: "launch.py"
    for helper in UNUSED_HELPERS:
        setattr(ray_node.Node, helper, lambda self, **arguments: None)
    # Ray's handler would exit in the middle of its own start, and nobody would say how to go on.
    ray_utils.set_sigterm_handler = lambda handler: None
    ray.init(log_to_driver=False, configure_logging=False, job_config=_Path(path), **arguments)


def _log_message(data: Mapping[str, Any], ignore_prefix: bool) -> None:
    """Takes the place of a function of Ray's, hence the parameters."""
    for line in data["lines"]:
        logger.info("ray %s: %s", data["pid"], line)
