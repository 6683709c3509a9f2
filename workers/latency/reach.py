"""What a latency target needs of the machine, found out before anything is timed."""

import ctypes
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from nas.errors import first_line
from workers.devices import CPU, num_cores
from workers.processes import environment

MAX_BATCH = 2**16
"""Images per forward pass. With more a timing takes minutes, and tells nothing that fewer do not."""
COMPILER_TIMEOUT_S = 60.0
_ANSWER = 42
_PROGRAM = """
#include <Python.h>
{more}
#ifdef __cplusplus
extern "C"
#endif
int answer(void) {{ return {answer}; }}
"""
"""What torch.compile asks of a compiler, in small. Source of its demands: cpp_builder.py and codecache.py of
torch/_inductor for C++ and a CPU; triton/runtime/build.py for C and a GPU."""


def lacks_threads(threads: int) -> str | None:
    """What is wrong with so many threads on this host; None if it has the cores for them."""
    cores = num_cores()
    return f"threads is {threads}, and this process may use {cores} of the cores here" if threads > cores else None


@cache
def lacks_compiler(device_type: str) -> str | None:
    """What torch.compile lacks for models on such a device; None if it lacks nothing.

    Args:
        device_type: cpu or cuda.
    """
    if device_type != CPU:
        if importlib.util.find_spec("triton") is None:
            return "torch compiles for a GPU with triton, which cannot be imported"
        given = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or "gcc"
        return _fault_of(given, "a C compiler", "CC", ("-x", "c"), "")
    given = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    options = ("-x", "c++", "-std=c++17")
    if sys.platform == "darwin":
        return _fault_of(given, "a C++ compiler", "CXX", options, "")
    return _fault_of(given, "a C++ compiler with OpenMP", "CXX", (*options, "-fopenmp"), "#include <omp.h>")


def _fault_of(given: str, needed: str, variable: str, options: Sequence[str], more: str) -> str | None:
    """Why a small library cannot be made and loaded."""
    program = _PROGRAM.format(more=more, answer=_ANSWER)
    with tempfile.TemporaryDirectory(prefix="nas-compiler-") as folder:
        library = str(Path(folder) / "trial.so")
        include = f"-I{sysconfig.get_path('include', 'posix_prefix')}"
        try:
            command = [*shlex.split(given), *options, "-shared", "-fPIC", include, "-o", library, "-"]
            with environment():
                subprocess.run(
                    command, input=program, capture_output=True, text=True, timeout=COMPILER_TIMEOUT_S, check=True
                )
            works = ctypes.CDLL(library).answer() == _ANSWER
            reason = "" if works else "what it makes gives wrong answers"
        except subprocess.CalledProcessError as error:
            reason = first_line(ValueError(error.stderr), f"it ends with {error.returncode}")
        except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired) as error:
            reason = first_line(error)
    if not reason:
        return None
    return (
        f"torch.compile needs {needed} and Python.h, and {given!r} does not do ({reason}); see the variable {variable}"
    )
