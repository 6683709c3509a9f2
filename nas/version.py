"""Which code recorded something."""

import importlib.metadata
import subprocess
from pathlib import Path


def code_version() -> str:
    """Version of the package, with the commit where this is a git checkout."""
    try:
        version = importlib.metadata.version("hybrid-nas")
    except importlib.metadata.PackageNotFoundError:
        version = "uninstalled"
    command = ["git", "-C", str(Path(__file__).parent.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{version}+{commit}"
