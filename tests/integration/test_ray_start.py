"""What a pool of local workers says and starts until it is ready; in a file of its own, as a process has one pool."""

import psutil
import pytest
from ray._private import node

from tests.integration.quick_work import quick_pool
from workers.cluster.session import UNUSED_HELPERS

pytestmark = pytest.mark.ray


def command_of(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_pool_says_in_order_what_it_waits_for_and_starts_no_helper_in_vain() -> None:
    steps: list[str] = []
    started = quick_pool(step=steps.append)
    try:
        started.calibrate({}, {})
        commands = [command_of(process) for process in psutil.Process().children(recursive=True)]
    finally:
        started.close()
    assert steps[:2] == ["starting Ray", "starting 2 workers: 0 of 2 ready"]
    assert steps[2] in ("starting 2 workers: 1 of 2 ready", "starting 2 workers: 2 of 2 ready")
    assert steps[3].startswith("calibrating on worker-")
    for helper in ("dashboard/dashboard.py", "autoscaler/_private/monitor.py", "log_monitor.py"):
        assert not any(helper in command for command in commands), helper
    assert all(hasattr(node.Node, helper) for helper in UNUSED_HELPERS)
