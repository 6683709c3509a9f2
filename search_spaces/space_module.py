"""A space of a user's own: a Python file, or an importable module, that holds `SPACE`. Imports no torch.

    SPACE = my_space                       # (scale, image_size, in_chans, num_classes) -> a SearchSpace
    def build(spec, drop_path_rate): ...   # -> nn.Module; only where its networks are not made of our blocks

The specs of networks that a module builds itself are JSON of its own, with the keys image_size, in_chans, num_classes.
A new meaning of the same spec needs a new space_hash; without it, recorded studies silently change.

The text of a file travels to the workers, on whatever host they are. It travels alone: files beside it are not found,
and what it imports must be installed on every host. On the coordinator's own, workers look where it looks.
"""

import hashlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import ExecutionLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

from nas.errors import InvalidInputError, NasError, first_line
from nas.files import user_file


@dataclass(frozen=True, slots=True)
class SpaceModule:
    """A module as plain text, so that it crosses processes and hosts."""

    origin: str
    """Absolute path of a file, or a dotted name."""
    source: str | None
    """Text of the file; None for a dotted name, which every process imports for itself."""

    def load(self) -> ModuleType:
        """The module; its code runs once in a process.

        Raises:
            InvalidInputError: if it cannot be imported; one line that says where and why.
        """
        with self.blamed():
            if self.source is None:
                return import_module(self.origin)
            return _load_text(self.origin, self.source)

    def builds(self) -> bool:
        """Whether it builds its networks itself.

        Raises:
            InvalidInputError: if it cannot be imported.
        """
        return callable(vars(self.load()).get("build"))

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turn what its code raises into one line.

        Raises:
            InvalidInputError: instead of any exception that is not ours.
        """
        try:
            yield
        except NasError:
            raise
        except ModuleNotFoundError as error:
            if self.source is not None or not f"{self.origin}.".startswith(f"{error.name}."):
                raise self._blame(error) from error
            raise InvalidInputError(
                f"there is no module {self.origin} to import here; install its package, or give a FILE.py"
            ) from error
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise self._blame(error) from error

    def _blame(self, error: BaseException) -> InvalidInputError:
        line = self._line_of(error)
        where = f" in line {line}" if line else ""
        return InvalidInputError(
            f"the space of {self.origin} raises {type(error).__name__}{where}: {first_line(error)}; mend it, or give "
            "another --space"
        )

    def _line_of(self, error: BaseException) -> int | None:
        """The last line of the module that an exception passed."""
        file = self.origin if self.source is not None else f"{self.origin.replace('.', '/')}.py"
        if isinstance(error, SyntaxError) and (error.filename or "").endswith(file):
            return error.lineno
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename.endswith(file)]
        return lines[-1] if lines else None


def find_module(given: str) -> SpaceModule | None:
    """The module that a text names by a path ending in .py, or by a dotted name; None for any other text.

    Raises:
        InvalidInputError: if the file cannot be read.
    """
    if given.endswith(".py"):
        return _read(user_file(given).resolve())
    names = given.split(".")
    if len(names) > 1 and all(name.isidentifier() for name in names):
        return SpaceModule(given, None)
    return None


def _read(path: Path) -> SpaceModule:
    try:
        return SpaceModule(str(path), path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInputError(f"there is no file {path}; expected a Python file that holds SPACE") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{path} cannot be read ({first_line(error)}); expected a Python file that holds SPACE"
        ) from error


def _load_text(origin: str, source: str) -> ModuleType:
    digest = hashlib.sha256(f"{origin}\n{source}".encode()).hexdigest()
    name = f"space_module_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_loader(name, _TextLoader(origin, source))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # before its code runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _TextLoader(ExecutionLoader):
    """Runs a text under the path that it came from, whether or not there is a file here."""

    def __init__(self, path: str, source: str) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._source, self._path)

    def is_package(self, fullname: str) -> bool:
        return False
