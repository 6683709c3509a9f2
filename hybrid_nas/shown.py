"""Results in every form: records, text, JSON, CSV, files, and pictures that show in a notebook."""

import html
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from nas.files import user_file
from nas.pareto.history import History
from nas.records import FinalFront, Front
from nas.reports.views import View

if TYPE_CHECKING:
    from nas.analysis.explain import Explanation

V = TypeVar("V", Front, FinalFront, History)


@dataclass(frozen=True, slots=True)
class Shown(Generic[V]):
    """A front, a final front or a history. As the last value of a notebook's cell it shows as a picture."""

    value: V
    """The records."""
    view: View

    def text(self) -> str:
        """A table, as `launch.py pareto` prints it."""
        return self.view.text()

    def json(self) -> str:
        """One JSON object, numbers in base units."""
        return self.view.json()

    def csv(self) -> str:
        """A table with a header line, numbers in base units."""
        return self.view.csv()

    def plot(self, path: str | Path) -> Path:
        """Write the picture to a .png, .svg or .pdf.

        Raises:
            InvalidInputError: if the file cannot be written as asked.
        """
        file = user_file(path)
        self.view.plot(file)
        return file

    def html(self, path: str | Path) -> Path:
        """Write one interactive page, which needs no network, to a .html.

        Raises:
            InvalidInputError: if the file cannot be written as asked.
        """
        file = user_file(path)
        self.view.html(file)
        return file

    def __str__(self) -> str:
        return self.text()

    def _repr_png_(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return self.plot(Path(folder) / "picture.png").read_bytes()


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation. As the last value of a notebook's cell it shows as a page."""

    value: "Explanation"
    """The records."""

    def text(self) -> str:
        """Tables, as `launch.py explain` prints them."""
        from nas.reports.explanations import explanation_text

        return explanation_text(self.value)

    def json(self) -> str:
        """One JSON object."""
        from nas.reports.explanations import explanation_json

        return explanation_json(self.value)

    def html(self, path: str | Path) -> Path:
        """Write one page, which needs no network, to a .html.

        Raises:
            InvalidInputError: if the file cannot be written as asked.
        """
        from nas.reports.explanations import html_explanation

        file = user_file(path)
        html_explanation(file, self.value)
        return file

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        # In a frame, because a page's own style and script must not meet those of the notebook.
        with tempfile.TemporaryDirectory() as folder:
            page = self.html(Path(folder) / "page.html").read_text(encoding="utf-8")
        return f'<iframe srcdoc="{html.escape(page)}" width="100%" height="600" style="border: 0"></iframe>'
