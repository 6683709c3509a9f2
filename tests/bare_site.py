"""Environments of some packages and what these need, and nothing else: no part of this project, no Optuna, no Ray."""

import contextlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

RUN = """import runpy, sys
sys.path.append(sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def needed(*packages: str) -> set[str]:
    """Normalised names of the distributions that these need, themselves included, without extras."""
    found: set[str] = set()
    names = list(packages)
    while names:
        name = names.pop().lower().replace("_", "-")
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            wanted = [Requirement(text) for text in importlib.metadata.requires(name) or [] if name not in found]
            found.add(name)
            names += [need.name for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def bare_site(folder: Path, *packages: str) -> Path:
    """A folder of links in which these packages can be imported and no other.

    Args:
        folder: is made.
        packages: distributions that are installed here.
    """
    folder.mkdir()
    for name in needed(*packages):
        distribution = importlib.metadata.distribution(name)
        for top in {path.parts[0] for path in distribution.files or []} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))
    return folder


def run_bare(site: Path, program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with a Python that looks into this folder and into no other."""
    command = [sys.executable, "-I", "-S", "-c", RUN, str(site), str(program), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=site, check=False)
