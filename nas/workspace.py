"""Where the files of a database's studies lie, and the words that name database and files in other commands."""

import logging
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nas.errors import InvalidInputError
from nas.files import check_writable, user_file, user_folder

STORAGE_VARIABLE = "NAS_STORAGE"
"""Environment variable with the URL of the database."""
NOTIFY_KEY_VARIABLE = "NAS_NOTIFY_KEY"
"""Environment variable with the key that signs notifications."""
TOKEN_VARIABLE = "NAS_TOKEN"
"""Environment variable with the token for a service."""
DEFAULT_STORAGE = "sqlite:///runs/nas.db"
DEFAULT_FOLDER = Path("runs")
"""Where the files of studies lie whose database is on a server."""
_SQLITE_FILE = re.compile(r"(sqlite(?:\+pysqlite)?:///)([^?]+)", re.DOTALL)
_LOG_FORMAT = "%(asctime)s %(levelname)s coordinator %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A database, and the folders of what its studies keep in files."""

    folder: Path
    """Beside a SQLite database, else DEFAULT_FOLDER."""
    url: str
    """URL of the database, its password redacted."""
    is_default: bool
    """Whether a command finds the database without --storage."""
    given_artifacts: str | None = None
    """What --artifacts gives, if anything."""

    @property
    def artifacts(self) -> Path:
        """Folder of weights and drawings."""
        return Path(self.given_artifacts) if self.given_artifacts else self.folder / "artifacts"

    def cache(self, given: str | Path | None, ray_address: str | None) -> str:
        """Folder under which decoded images are kept, as workers.evaluation.EvaluationConfig takes it.

        Args:
            given: what --cache gives; None for the default, beside the database, or in the temporary folder of each
                node of a cluster.

        Raises:
            InvalidInputError: if nothing can be written to a folder that is given.
        """
        if given is not None:
            folder = user_folder(given)
            check_writable(folder, "--cache")
            return str(folder)
        return str(self.folder / "cache") if ray_address is None else ""

    def log_file(self, study: str, uid: str) -> Path:
        """Log of a study's coordinator and workers, by the study's name and id."""
        return self.folder / "logs" / f"{study_folder(study, uid)}.log"

    @property
    def storage_words(self) -> str:
        """The option that names this database in another command; it begins with a blank, or is empty."""
        return "" if self.is_default else f" --storage {shlex.quote(self.url)}"

    @property
    def artifacts_words(self) -> str:
        """The option that names the artifacts in another command; it begins with a blank, or is empty."""
        is_own = self.artifacts != self.folder / "artifacts"
        return f" --artifacts {shlex.quote(str(self.artifacts))}" if is_own else ""

    def study_words(self, study: str) -> str:
        """The options that name a study of this database in another command."""
        return f"--study {shlex.quote(study)}{self.storage_words}"


def storage_url(given: str) -> str:
    """The URL of a database as a user means it: the path of a SQLite file as nas.files.user_file gives it.

    Raises:
        InvalidInputError: if no SQLite file can have that path. db.engine.parse_url looks at everything else.
    """
    if not isinstance(given, str):
        raise InvalidInputError(f"--storage is {given!r}; expected a text, a database URL")
    file = _SQLITE_FILE.fullmatch(given)
    if file is None or file[2] == ":memory:":
        return given
    return f"{file[1]}{user_file(file[2])}"


class _Log(logging.FileHandler):
    """A log file whose full disk prints no tracebacks over the display, and fails nothing."""

    def handleError(self, record: logging.LogRecord) -> None:
        """The line is lost."""

    def close(self) -> None:
        """What could not be written is lost."""
        with suppress(OSError):
            super().close()


def open_log(file: Path) -> logging.Handler:
    """Append to a log file.

    Raises:
        InvalidInputError: if it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = _Log(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InvalidInputError(
            f"cannot write the log file {file} ({error.strerror}); search in a folder that you may write"
        ) from error
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    return handler


def study_folder(study: str, uid: str) -> str:
    """Name under which the files of a study lie: its own, and the beginning of the id that it got at its creation.

    Databases may share a folder. Their studies of one name never share a file there.
    """
    return f"{study}-{uid[:8]}"
