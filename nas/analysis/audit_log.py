"""What an audit has trained so far: one line of JSON for each training, beside the artifacts."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.errors import NasError


@dataclass(frozen=True, slots=True)
class AuditTraining:
    """One architecture, trained by the final recipe of an audit, and what its untrained network said."""

    arch_hash: str
    data_fingerprint: str
    recipe_hash: str
    seed: int
    top1: float
    """On the validation split, after the last step."""
    duration_s: float
    """Training and validation, waiting for the device lock excluded."""
    device: str
    zero_cost: Mapping[str, float]
    """Training-free proxy -> its finite value."""


class AuditLog:
    """The trainings of one study's audits. A line is written whole and at once; what a kill left of one is passed
    over."""

    def __init__(self, artifacts: Path, study_folder: str) -> None:
        """Nothing is created before the first training is kept.

        Args:
            artifacts: may be shared by several studies and databases.
            study_folder: name under which the study's files lie (nas.workspace.study_folder).
        """
        self.path = artifacts / "audits" / f"{study_folder}.jsonl"

    def read(self, data_fingerprint: str, recipe_hash: str, seed: int) -> dict[str, AuditTraining]:
        """arch_hash -> its training with these data, this recipe and this seed; others are not comparable.

        Raises:
            NasError: if the file cannot be read.
        """
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise NasError(
                f"{self.path} cannot be read ({error.strerror}); make it readable, or give another --artifacts"
            ) from error
        trainings = [training for line in lines if (training := _parse(line))]
        wanted = data_fingerprint, recipe_hash, seed
        return {one.arch_hash: one for one in trainings if (one.data_fingerprint, one.recipe_hash, one.seed) == wanted}

    def append(self, training: AuditTraining) -> None:
        """Keep a training.

        Raises:
            NasError: if it cannot be written.
        """
        line = json.dumps(asdict(training), allow_nan=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    line = b"\n" + line  # behind a torn line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NasError(
                f"{self.path} cannot be written ({error.strerror}); make room, or give another --artifacts"
            ) from error


def _parse(line: str) -> AuditTraining | None:
    try:
        return AuditTraining(**json.loads(line))
    except (ValueError, TypeError):
        return None
