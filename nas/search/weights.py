"""The trained weights of front members, kept as files beside the database."""

import contextlib
from pathlib import Path

from nas.errors import InvalidInputError, NasError
from nas.files import write_whole
from nas.records import TrialFacts


class WeightsFolder:
    """Weights by training: one safetensors file per trial of a study, under the artifacts folder."""

    def __init__(self, artifacts: Path, study: str) -> None:
        """Nothing is created before the first file is kept."""
        self._artifacts = artifacts
        self._folder = artifacts / "weights" / study

    def keep(self, facts: TrialFacts, weights: bytes) -> str:
        """Write the weights of a trial, whole or not at all.

        Returns:
            The path relative to the artifacts folder.

        Raises:
            NasError: if they cannot be written (no space, no permission).
        """
        path = self._folder / f"trial-{facts.trial_number:06d}-{facts.arch_hash[:12]}.safetensors"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, weights, durable=True)
        except OSError as error:
            raise NasError(
                f"weights cannot be kept under {self._folder}: {error.strerror}; make room or give another --artifacts"
            ) from error
        return str(path.relative_to(self._artifacts))

    def drop(self, relative_path: str) -> None:
        """Remove a file that is no longer needed; one that is gone already is no error."""
        with contextlib.suppress(OSError):
            (self._artifacts / relative_path).unlink(missing_ok=True)

    def read(self, relative_path: str) -> bytes:
        """Read the weights of a trial.

        Raises:
            InvalidInputError: if the file cannot be read.
        """
        path = self._artifacts / relative_path
        try:
            return path.read_bytes()
        except OSError as error:
            message = (
                f"the recorded weights {path} cannot be read ({error.strerror}); give the --artifacts of the search, "
                "or use --retrain"
            )
            raise InvalidInputError(message) from error
