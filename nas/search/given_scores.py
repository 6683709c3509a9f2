"""What `--scores` names, and the numbers of a file that it names."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import InvalidInputError
from nas.files import user_file
from nas.protocols import SearchSpace, Store, traits_of
from nas.records import Genotype
from nas.search.study import Storage, recorded_genotypes
from nas.search.warm_start import MIN_KNOWN, earlier_study
from nas.surrogates.proxies import NAMES
from nas.surrogates.scores import ArchitectureScore, ModelledScore

SCORE = "score"
GENOTYPE = "genotype"
ARCH_HASH = "arch_hash"
SUFFIXES = (".json", ".csv")
EXPECTED = (
    f"expected JSON, a list of objects with {SCORE!r} and {GENOTYPE!r} or {ARCH_HASH!r}, or CSV with the column "
    f"{SCORE} and either a column for each gene or the column {ARCH_HASH}"
)


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
    if file.suffix.lower() not in SUFFIXES and not file.is_file():
        raise InvalidInputError(
            f"--scores has {word.strip()!r}; expected names of training-free scores by commas, which are "
            f"{', '.join(NAMES)}, and last, if at all, a JSON or CSV file"
        )
    return GivenScores(tuple(dict.fromkeys(names)), file)


def known_scores(
    study: str, warm_start: str, given: str | None, space: SearchSpace, store: Store, storage: Storage
) -> tuple[ArchitectureScore, ...]:
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


def read_scores(file: Path, study: str, space: SearchSpace, store: Store, storage: Storage) -> ModelledScore:
    """Read a file of scores.

    Args:
        file: JSON or CSV, by its suffix.
        study: whose trials are no source.
        space: whose genotypes it has; an invalid one counts as the nearest valid.
        store: a hash alone is looked up among the trials of its studies on the same space.
        storage: Optuna's, in the same database.

    Raises:
        InvalidInputError: if the file cannot be read, an entry is none, or too few are known architectures.
        NasError: if the database fails.
    """
    entries = _entries(file, space)
    by_hash = _trained(study, space, store, storage) if any(GENOTYPE not in entry for entry in entries) else {}
    known = []
    for place, entry in enumerate(entries, 1):
        value = _value(entry, f"entry {place} of --scores {file}")
        genotype = space.repair(entry[GENOTYPE]) if GENOTYPE in entry else by_hash.get(str(entry[ARCH_HASH]))
        if genotype is not None:
            known.append((genotype, value))
    if len(known) < MIN_KNOWN:
        raise InvalidInputError(
            f"--scores {file} has {len(known)} scores of architectures that are known here, of {len(entries)}; "
            f"expected {MIN_KNOWN} or more: a hash is known where a study of this database trained it, a genotype "
            "always"
        )
    return ModelledScore(file.name, "earlier", space.genes, tuple(known), traits_of(space))


def _value(entry: Mapping[str, Any], where: str) -> float:
    value = entry.get(SCORE)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInputError(f"{where} has the score {value!r}; expected a finite number")
    if GENOTYPE in entry and not isinstance(entry[GENOTYPE], dict):
        raise InvalidInputError(f"{where} has the genotype {entry[GENOTYPE]!r}; expected an object of genes and values")
    return float(value)


def _entries(file: Path, space: SearchSpace) -> Sequence[Mapping[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".csv":
            return [_of_columns(columns, space) for columns in csv.DictReader(text.splitlines())]
        entries = json.loads(text)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise InvalidInputError(f"--scores {file} cannot be read: {error}; {EXPECTED}") from error
    is_list = isinstance(entries, list)
    if not is_list or not all(isinstance(entry, dict) and {GENOTYPE, ARCH_HASH} & set(entry) for entry in entries):
        raise InvalidInputError(f"--scores {file} is another JSON; {EXPECTED}")
    return list(entries)


def _of_columns(columns: Mapping[str, str], space: SearchSpace) -> Mapping[str, Any]:
    """One line of a CSV as an entry."""
    score = float(columns.get(SCORE) or math.nan)
    if ARCH_HASH in columns:
        return {SCORE: score, ARCH_HASH: columns[ARCH_HASH]}
    genotype: Genotype = {}
    for gene in space.genes:
        value = next((value for value in gene.values if str(value) == columns.get(gene.name)), None)
        if value is None:
            raise ValueError(f"gene {gene.name} is {columns.get(gene.name)!r}, which is none of its values")
        genotype[gene.name] = value
    return {SCORE: score, GENOTYPE: genotype}


def _trained(name: str, space: SearchSpace, store: Store, storage: Storage) -> Mapping[str, Genotype]:
    """Genotypes of the trials of all other studies on this space, by the hash of their architecture."""
    found: dict[str, Genotype] = {}
    for study in store.studies():
        if study.space_hash == space.space_hash and study.name != name:
            genotypes = recorded_genotypes(storage, study.name)
            found |= {trial.arch_hash: genotypes[trial.trial_number] for trial in store.facts(study.name)}
    return found
