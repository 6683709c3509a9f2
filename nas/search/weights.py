"""The trained weights of front members, kept as files beside the database and proved when they are read."""

import contextlib
import hashlib
from pathlib import Path

from nas.errors import InvalidInputError
from nas.files import cannot_keep, write_whole
from nas.records import KeptWeights, TrialFacts

WEIGHTS = "weights"
"""Folder of them among the artifacts."""


class WeightsFolder:
    """Weights by training: one safetensors file per trial of a study, under the artifacts folder."""

    def __init__(self, artifacts: Path, study_folder: str) -> None:
        """Nothing is created before the first file is kept.

        Args:
            artifacts: may be shared by several studies and databases.
            study_folder: name of the study's own folder (nas.workspace.study_folder).
        """
        self._artifacts = artifacts
        self._folder = artifacts / WEIGHTS / study_folder

    def keep(self, facts: TrialFacts, weights: bytes) -> KeptWeights:
        """Write the weights of a trial, whole or not at all.

        Raises:
            UnavailableError: if the disk is full.
            NasError: if they cannot be written for another reason.
        """
        path = self._folder / f"trial-{facts.trial_number:06d}-{facts.arch_hash[:12]}.safetensors"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, weights, durable=True)
        except OSError as error:
            raise cannot_keep(
                f"weights cannot be kept under {self._folder}: {error.strerror}; make room or give another --artifacts",
                error,
            ) from error
        return KeptWeights(path.relative_to(self._artifacts).as_posix(), hashlib.sha256(weights).hexdigest())

    def drop(self, kept: KeptWeights) -> None:
        """Remove a file that is no longer needed; one that is gone already is no error."""
        with contextlib.suppress(OSError):
            (self._artifacts / kept.path).unlink(missing_ok=True)


def read_weights(artifacts: Path, kept: KeptWeights) -> bytes:
    """Read recorded weights, and prove that they are those that were written.

    Raises:
        InvalidInputError: if the file cannot be read, or holds other bytes than were recorded.
    """
    path = artifacts / kept.path
    try:
        weights = path.read_bytes()
    except OSError as error:
        message = (
            f"the recorded weights {path} cannot be read ({error.strerror}); give the --artifacts of the search, "
            "or use --retrain"
        )
        raise InvalidInputError(message) from error
    if hashlib.sha256(weights).hexdigest() != kept.sha256:
        raise InvalidInputError(
            f"the weights {path} are not those that were recorded: their SHA-256 differs; put the original file back, "
            "or use --retrain"
        )
    return weights
