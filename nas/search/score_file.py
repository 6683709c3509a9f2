"""A file of scores: a number for each of some architectures, as JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, Store, traits_of
from nas.records import Gene, Genotype, Value
from nas.search.study import Storage, recorded_genotypes
from nas.search.warm_start import MIN_KNOWN
from nas.surrogates.genes import GeneLevels, Row
from nas.surrogates.scores import ModelledScore

SCORE = "score"
GENOTYPE = "genotype"
ARCH_HASH = "arch_hash"
EXPECTED = (
    f"expected JSON, a list of objects with {SCORE!r} and {GENOTYPE!r} or {ARCH_HASH!r}, or CSV with the column "
    f"{SCORE} and either a column for each gene or the column {ARCH_HASH}"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A number, and what says whose it is."""

    score: float
    genotype: Genotype | None
    """Valid; None where a hash stands in its place."""
    arch_hash: str | None


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
    entries = list(_entries(file, space))
    by_hash = _trained(study, space, store, storage) if any(entry.genotype is None for entry in entries) else {}
    known = _distinct(entries, by_hash, space.genes)
    if len(known) < MIN_KNOWN:
        raise InvalidInputError(
            f"--scores {file} has {len(known)} scores of architectures that are known here, of {len(entries)}; "
            f"expected {MIN_KNOWN} or more: a hash is known where a study of this database trained it, a genotype "
            "always"
        )
    return ModelledScore(file.name, "earlier", space.genes, known, traits_of(space))


def _distinct(
    entries: Sequence[_Entry], by_hash: Mapping[str, Genotype], genes: Sequence[Gene]
) -> tuple[tuple[Genotype, float], ...]:
    """One score for each architecture that is known: the mean of those that it has."""
    levels = GeneLevels(genes)
    found: dict[Row, tuple[Genotype, list[float]]] = {}
    for entry in entries:
        genotype = by_hash.get(str(entry.arch_hash)) if entry.genotype is None else entry.genotype
        if genotype is not None:
            [row] = levels.canonical(levels.rows([genotype])).tolist()
            found.setdefault(tuple(row), (genotype, []))[1].append(entry.score)
    return tuple((genotype, _mean(scores)) for genotype, scores in found.values())


def _mean(scores: Sequence[float]) -> float:
    """Finite where they are: their sum may not be."""
    return sum(score / len(scores) for score in scores)


def _entries(file: Path, space: SearchSpace) -> Iterator[_Entry]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        given = _csv_entries(text, space.genes) if file.suffix.lower() == ".csv" else _json_entries(text)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise InvalidInputError(f"--scores {file} cannot be read: {error}; {EXPECTED}") from error
    for place, entry in enumerate(given, 1):
        where = f"entry {place} of --scores {file}"
        score = _finite(entry.get(SCORE), where)
        if GENOTYPE not in entry:
            yield _Entry(score, None, str(entry[ARCH_HASH]))
            continue
        genotype = entry[GENOTYPE]
        if not isinstance(genotype, dict):
            raise InvalidInputError(f"{where} has the genotype {genotype!r}; expected an object of genes and values")
        _check_genotype(genotype, space.genes, where)
        yield _Entry(score, space.repair(genotype), None)


def _check_genotype(genotype: Mapping[str, object], genes: Sequence[Gene], where: str) -> None:
    names = {gene.name for gene in genes}
    if genotype.keys() != names:
        lacking = ", ".join(sorted(names - genotype.keys())) or "none"
        unknown = ", ".join(sorted(genotype.keys() - names)) or "none"
        raise InvalidInputError(
            f"{where} has a genotype of another space: it lacks the genes {lacking} and has unknown ones, {unknown}"
        )
    for gene in genes:
        if genotype[gene.name] not in gene.values:
            values = ", ".join(map(repr, gene.values))
            raise InvalidInputError(f"{where} has {gene.name} {genotype[gene.name]!r:.40}; expected one of {values}")


def _finite(given: object, where: str) -> float:
    shown = "no score" if given is None or given == "" else f"the score {given!r:.40}"
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= sys.float_info.max:
        raise InvalidInputError(f"{where} has {shown}; expected a finite number")
    return float(given)


def _json_entries(text: str) -> Sequence[Mapping[str, Any]]:
    entries = json.loads(text)
    is_list = isinstance(entries, list)
    if not is_list or not all(isinstance(entry, dict) and {GENOTYPE, ARCH_HASH} & set(entry) for entry in entries):
        raise ValueError("it is another JSON")
    return list(entries)


def _csv_entries(text: str, genes: Sequence[Gene]) -> Sequence[Mapping[str, Any]]:
    """The lines below the header; a genotype counts where both it and a hash are given."""
    lines = csv.reader(text.splitlines(), strict=True)
    header = [name.strip() for name in next(lines, [])]
    missing = [gene.name for gene in genes if gene.name not in header]
    if SCORE not in header or (missing and ARCH_HASH not in header):
        genes_lack = [] if ARCH_HASH in header else missing
        lacking = [*([] if SCORE in header else [SCORE]), *genes_lack]
        raise ValueError(f"the header lacks {', '.join(lacking)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise ValueError(f"the header has {', '.join(twice)} twice")
    entries = []
    for cells in lines:
        if not cells:
            continue
        if len(cells) != len(header):
            raise ValueError(f"line {lines.line_num} has {len(cells)} cells, and the header has {len(header)}")
        columns = dict(zip(header, map(str.strip, cells), strict=True))
        entry: dict[str, Any] = {SCORE: _number(columns[SCORE])}
        if missing:
            entry[ARCH_HASH] = columns[ARCH_HASH]
        else:
            entry[GENOTYPE] = {gene.name: _value(gene, columns[gene.name]) for gene in genes}
        entries.append(entry)
    return entries


def _number(text: str) -> float | str:
    """The text itself where it is none."""
    try:
        return float(text)
    except ValueError:
        return text


def _value(gene: Gene, text: str) -> Value:
    """The value that is written so; the text itself where there is none, which is refused later."""
    return next((value for value in gene.values if str(value) == text), text)


def _trained(name: str, space: SearchSpace, store: Store, storage: Storage) -> Mapping[str, Genotype]:
    """Genotypes of the trials of all other studies on this space, by the hash of their architecture."""
    found: dict[str, Genotype] = {}
    for study in store.studies():
        if study.space_hash == space.space_hash and study.name != name:
            genotypes = recorded_genotypes(storage, study.name)
            found |= {trial.arch_hash: genotypes[trial.trial_number] for trial in store.facts(study.name)}
    return found
