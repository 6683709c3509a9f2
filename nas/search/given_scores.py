"""What `--scores` names."""

from dataclasses import dataclass
from pathlib import Path

from nas.errors import InvalidInputError
from nas.files import user_file
from nas.protocols import SearchSpace, Store
from nas.search.score_file import read_scores
from nas.search.study import Storage
from nas.search.warm_start import earlier_study
from nas.surrogates.proxies import NAMES
from nas.surrogates.scores import ModelledScore

SUFFIXES = (".json", ".csv")


@dataclass(frozen=True, slots=True)
class GivenScores:
    """What --scores names."""

    names: tuple[str, ...] = ()
    """Training-free scores."""
    file: Path | None = None
    """Numbers of the user's."""

    def __str__(self) -> str:
        """The option that gives the same from any folder."""
        return ",".join([*self.names, *([] if self.file is None else [str(self.file)])])


def given_scores(text: str | None) -> GivenScores:
    """Read the option: names of training-free scores by commas, and last, if at all, a file.

    Raises:
        InvalidInputError: if a word is neither.
    """
    names: list[str] = []
    rest = text or ""
    while rest:
        word, _, after = rest.partition(",")
        if word.strip() not in NAMES:
            break
        names.append(word.strip())
        rest = after
    if not rest:
        return GivenScores(tuple(dict.fromkeys(names)))
    file = user_file(rest.strip())
    if Path(word.strip()).suffix.lower() in SUFFIXES and word != rest and not file.is_file():
        raise InvalidInputError(f"--scores has {rest!r}; expected one file at most, put all numbers into that")
    if file.suffix.lower() not in SUFFIXES and not file.is_file():
        raise InvalidInputError(
            f"--scores has {word.strip()!r}; expected names of training-free scores by commas, which are "
            f"{', '.join(NAMES)}, and last, if at all, a JSON or CSV file"
        )
    return GivenScores(tuple(dict.fromkeys(names)), file)


def known_scores(
    study: str, warm_start: str, given: str | None, space: SearchSpace, store: Store, storage: Storage
) -> tuple[ModelledScore, ...]:
    """The scores of a search that are known before it begins, in the same order each time.

    Args:
        study: its name; its own trials are no source, or its scores would change while it runs.
        warm_start: the option.
        given: --scores; None for none.
        space: what is searched.
        store: where the earlier study is.
        storage: Optuna's, in the same database.

    Raises:
        InvalidInputError: if the earlier study or the file cannot be used.
        NasError: if the database fails.
    """
    earlier = earlier_study(warm_start, space, store, storage).scores
    file = given_scores(given).file
    return earlier if file is None else (*earlier, read_scores(file, study, space, store, storage))
