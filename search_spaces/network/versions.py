"""The oldest versions that the networks run with, checked before anything that older ones lack is imported."""

import platform
import re
from collections.abc import Mapping

import timm
import torch

OLDEST = {"Python": "3.10", "torch": "2.0", "timm": "1.0.16"}
"""What is needed -> its version."""


def require_versions(found: Mapping[str, str]) -> None:
    """Refuse older ones.

    Args:
        found: version of each in OLDEST.

    Raises:
        ImportError: if one is older; the message says what to do.
    """
    for name, oldest in OLDEST.items():
        if _numbers(found[name]) < _numbers(oldest):
            raise ImportError(
                f"this model needs {name} {oldest} or newer, and here is {name} {found[name]}; "
                f"install a newer {name} (pip install -U timm, for example)"
            )


def _numbers(version: str) -> list[int]:
    """The leading numbers of a version, as far as they tell old from new."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


require_versions({"Python": platform.python_version(), "torch": str(torch.__version__), "timm": timm.__version__})
