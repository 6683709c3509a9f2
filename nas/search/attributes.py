"""What a recorded trial shows in Optuna's tools: attributes, constraints, and a drawing as an artifact."""

import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from nas.errors import InvalidInputError
from nas.files import cannot_keep, write_whole
from nas.records import Costs, Latency

TRUSTED = "trusted_score"
"""User attribute with the label of the score around which top1 was predicted when the trial was proposed."""


def trial_attributes(*, layout: str, arch_hash: str, costs: Costs, reason: str | None = None) -> dict[str, str | int]:
    """User attributes of a trial that are known when it is created; they travel in its template, so they cost no
    transaction.

    Args:
        layout: one readable line.
        arch_hash: 64 hex digits.
        costs: known before training.
        reason: why the trial is rejected; None for one that is evaluated.
    """
    attributes: dict[str, str | int] = {
        "layout": layout,
        "arch_hash": arch_hash,
        "param_count": costs.param_count,
        "macs": costs.macs,
    }
    return attributes if reason is None else attributes | {"reason": reason}


def trust_attribute(label: str | None) -> dict[str, str]:
    """User attribute of a trial that was asked for while the score of this label was trusted."""
    return {} if label is None else {TRUSTED: label}


def latency_attribute(latency: Latency) -> tuple[str, str]:
    """Key and text of the user attribute that shows a timing with its interval: one attribute, so one transaction."""
    interval = f"95 % interval {latency.ci_low_ms:.4g} to {latency.ci_high_ms:.4g}"
    return "latency", f"{latency.median_ms:.4g} ms ({interval}, p95 {latency.p95_ms:.4g}, {latency.samples} samples)"


def constraint_attributes(values: Mapping[str, float]) -> dict[str, float | list[float]]:
    """System attributes that mark a trial as feasible (every value <= 0) or not.

    Args:
        values: constraint name -> value, finite, in a stable order.

    Returns:
        `constraints:NAME` for Optuna 5, and the list `constraints` of Optuna 4, the only one that optuna-dashboard 0.21
        reads. Optuna reads both, so the total violation counts twice, in every trial alike; feasibility is the same.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"constraint {name} is {value}; only finite numbers are recorded")
    named: dict[str, float | list[float]] = {f"constraints:{name}": value for name, value in values.items()}
    return named | {"constraints": list(values.values())}


def drawings_folder(artifacts: Path) -> Path:
    """Where the drawings of all studies stand."""
    return artifacts / "drawings"


def make_drawings_folder(artifacts: Path) -> Path:
    """The same, made if it is missing.

    Raises:
        InvalidInputError: if it cannot be made or written.
    """
    folder = drawings_folder(artifacts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"cannot make the folder {folder} ({error.strerror}); give a folder that you may write as --artifacts"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InvalidInputError(
            f"cannot write into the folder {folder}; give a folder that you may write as --artifacts"
        )
    return folder


def drawing_attributes(svg: str, artifact_folder: Path) -> dict[str, str]:
    """Store a drawing as an artifact and describe it in system attributes for the template of a trial.

    `optuna.artifacts.upload_artifact` does the same for a trial that exists already, at the price of one more
    transaction.

    Args:
        svg: an SVG document.
        artifact_folder: existing folder; the file is written into it under a new UUID.

    Raises:
        UnavailableError: if the disk is full.
        NasError: if it cannot be written for another reason.
    """
    artifact_id = str(uuid.uuid4())
    try:
        write_whole(artifact_folder / artifact_id, svg.encode(errors="backslashreplace"))
    except OSError as error:
        raise cannot_keep(
            f"a drawing cannot be kept under {artifact_folder}: {error.strerror}; make room or give another "
            "--artifacts",
            error,
        ) from error
    description = {"artifact_id": artifact_id, "filename": "layout.svg", "mimetype": "image/svg+xml", "encoding": None}
    return {f"artifacts:{artifact_id}": json.dumps(description)}
