"""A look at what listens at an address, before this process joins it. Run as a script, in a process of its own.

Ray's core writes to stderr what it meets, and ends the process where it cannot go on. It also tries for half a minute
what can be known at once.
"""

import json
import os
import sys

from ray._common.usage.usage_lib import get_cluster_metadata
from ray._private.services import canonicalize_bootstrap_address, find_node_ids
from ray._private.utils import check_version_info, compute_version_info
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError, RpcError

ANSWER_WITHIN_S = 3
"""For the head to answer; Ray adds 10 s of its own."""


def look(address: str) -> dict[str, str]:
    """What must be known of a cluster to join it.

    Args:
        address: auto, or HOST:PORT.

    Returns:
        `problem`, what is in the way: "nothing found", "no answer", "token missing", "token wrong", "another version"
        (with the versions as `theirs` and `ours`) or "no node here"; empty if nothing is. With it `address` as
        HOST:PORT, and `mode`, the RAY_AUTH_MODE with which the cluster is joined.
    """
    try:
        found = canonicalize_bootstrap_address(address)
    except ConnectionError:
        return {"problem": "nothing found"}
    assert found is not None, "an address was given"
    os.environ["RAY_py_gcs_connect_timeout_s"] = str(ANSWER_WITHIN_S)  # noqa: SIM112 - spelt by Ray
    try:
        client = _connect(found, "disabled")
    except RpcError:
        return {"problem": "no answer"}
    mode = "disabled"
    if client is None:
        if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
            return {"problem": "token missing"}
        client = _connect(found, "token")
        mode = "token"
    if client is None:
        return {"problem": "token wrong"}
    return {"address": found, "mode": mode, **_difference(client)}


def _connect(address: str, mode: str) -> GcsClient | None:
    """None if the cluster does not let us in."""
    os.environ["RAY_AUTH_MODE"] = mode
    Config.initialize("")  # Ray reads its environment once
    try:
        return GcsClient(address=address)
    except AuthenticationError:
        return None


def _difference(client: GcsClient) -> dict[str, str]:
    metadata = get_cluster_metadata(client)
    try:
        check_version_info(metadata, "this process")
    except RuntimeError:
        ours = compute_version_info()  # type: ignore[no-untyped-call]
        return {
            "problem": "another version",
            "theirs": f"Ray {metadata['ray_version']} on Python {metadata['python_version']}",
            "ours": f"Ray {ours[0]} on Python {ours[1]}",
        }
    alive = {name.hex() for name, node in client.get_all_node_info().items() if node.state == node.ALIVE}
    here = set(find_node_ids())  # type: ignore[no-untyped-call]
    return {"problem": "" if alive & here else "no node here"}


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1])))  # noqa: T201 - the answer to who started this script
