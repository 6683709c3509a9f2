"""hybrid_nano: recorded trainings of `hybrid_layout`, shipped with the package, and what lies between them.

The file beside this module holds what was recorded (benchmarks/record.py) and hyperparameters of one Gaussian process
for each recorded number (benchmarks/nano.py). A recorded architecture is answered from its record. Of any other the
process says what to expect, and a deviation that was recorded between seeds is added.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from pathlib import Path

import numpy as np

from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, traits_of
from nas.records import JSON, Gene, Value
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder
from nas.surrogates.genes import Conditions, GeneLevels
from nas.tabular.recorded import Levels, RecordedProblem, Score
from nas.text import json_hash

FILE = Path(__file__).with_name("hybrid_nano.json.gz")
NANO: Mapping[str, tuple[str, str]] = {
    "hybrid_nano": ("digits", "macs"),
    "hybrid_nano_cpu": ("digits", "latency_ms"),
    "hybrid_nano_images": ("images", "macs"),
}
"""Name of a problem -> its table, and the cost."""
CURVE = ("top1_eighth", "top1_quarter", "top1_half", "top1")
"""Columns with the scores of a training, after an eighth of it and so on."""
LATENCY = "latency_ms"
REMEMBERED = 1 << 18
"""Rows and stages whose numbers are kept: a search asks for the same ones again and again."""
RECORDING = "python -m benchmarks.record"
ABSENT = ""
"""What stands for a block that a stage does not have."""
SLOTS = 3
"""Blocks of the deepest stage."""
BLOCK_FIELDS = ("kind", "conv", "kernel", "conv_ratio", "attention", "head_dim", "group_sizes", "ffn_ratio")

MakeSpace = Callable[[str, int, int, int, str], SearchSpace]
"""(scale, image_size, in_chans, num_classes, mixers) -> hybrid_layout."""


def features_of(spec: JSON) -> dict[str, Value]:
    """What the surrogates see of a network: the same for all genotypes of one architecture.

    Args:
        spec: of an architecture of `hybrid_layout` at scale nano.
    """
    features: dict[str, Value] = {"stem": spec["stem"]["kind"]}
    for number, stage in enumerate(spec["stages"], start=1):
        features[f"{number} width"] = stage["width"]
        for slot in range(SLOTS):
            block = stage["blocks"][slot] if slot < len(stage["blocks"]) else {}
            for name in BLOCK_FIELDS:
                features[f"{number}.{slot + 1} {name}"] = _plain(block.get(name, ABSENT))
    return features


def _plain(value: object) -> Value:
    if isinstance(value, list):
        return "-".join(map(str, value))
    assert isinstance(value, str | int), "what is read of a block are texts, whole numbers and lists"
    return value


class Networks:
    """Networks as rows of levels, for a surrogate."""

    def __init__(self, vocabulary: Mapping[str, Sequence[Value]]) -> None:
        """Take over the values of each feature; one that is not among them counts as the first."""
        self._levels = {name: dict(zip(values, range(len(values)), strict=True)) for name, values in vocabulary.items()}
        counts = [len(values) for values in vocabulary.values()]
        self.encoder = GeneEncoder.of(counts, [_is_ordered(values) for values in vocabulary.values()])
        """How rows are compared: numbers by their distance."""

    def row(self, spec: JSON) -> list[int]:
        """A level of each feature."""
        features = features_of(spec)
        return [levels.get(features[name], 0) for name, levels in self._levels.items()]


def _is_ordered(values: Sequence[Value]) -> bool:
    """Whether all are numbers, but for ABSENT."""
    return all(not isinstance(value, str) or value == ABSENT for value in values)


def read_file(path: Path = FILE) -> JSON:
    """The card and the tables.

    Raises:
        InvalidInputError: if there is no such file, or it is damaged.
    """
    try:
        content: JSON = json.loads(gzip.decompress(path.read_bytes()))
        is_whole = json_hash(content["tables"]) == content["card"]["sha256"]
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"hybrid_nano is not in this package: {path} is missing; record it with `{RECORDING}`, then "
            "`python -m benchmarks.nano build`"
        ) from error
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not is_whole:
        raise _damaged(path)
    return content


def _damaged(path: Path) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is damaged: its content is not what its checksum says; install the package again, or take the file "
        "from the repository"
    )


class NanoTable:
    """One table: recorded trainings of one data set, and a surrogate for each column."""

    def __init__(self, table: JSON, space: SearchSpace) -> None:
        """Take over a table of the file.

        Raises:
            InvalidInputError: if the space is not the one that was recorded.
        """
        if space.space_hash != table["space_hash"]:
            raise InvalidInputError(
                "hybrid_nano was recorded on another hybrid_layout: its genes have changed since; take the version "
                f"{table['version']}, or record it again with `{RECORDING}`"
            )
        self.space = space
        self._table = table
        self._levels = GeneLevels(space.genes)
        trainings = table["trainings"]
        self._rows = [tuple(table["architectures"]["levels"][number]) for number in trainings["architecture"]]
        self._seeds: Sequence[int] = trainings["seed"]
        self.networks = Networks(table["vocabulary"])
        self._identities = [self.identity(row) for row in self._rows]
        self.columns: Mapping[str, np.ndarray] = _columns(table)
        """Name -> a number for each training; NaN where there is none."""
        self._surrogates: dict[str, GaussianProcess] = {}
        self._parts = _parts(space.genes, tuple(table["vocabulary"]))
        self._known: dict[tuple[int, object], np.ndarray] = {}
        """Part and levels of its genes -> its features."""
        self.macs = lru_cache(REMEMBERED)(self._macs)
        """Levels -> multiply-adds, in closed form."""
        self.told = lru_cache(REMEMBERED)(self._told)
        """(column, levels) -> what a training of that architecture gives."""

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """Those of the space, with levels as their values."""
        values = {gene.name: gene.values for gene in self.space.genes}
        levels = partial(_conditions_by_level, values)
        return tuple(
            replace(gene, values=tuple(range(len(gene.values))), only_if=levels(gene.only_if), or_if=levels(gene.or_if))
            for gene in self.space.genes
        )

    def repair(self, levels: Levels) -> Levels:
        """The nearest valid row."""
        return self._levels.row(self.space.repair(self._levels.genotype(levels)))

    def identity(self, levels: Levels) -> str:
        """Hash of the architecture of a valid row."""
        return self.space.architecture(self._levels.genotype(levels)).arch_hash

    def _macs(self, levels: Levels) -> float:
        return float(self.space.genotype_costs(self._levels.genotype(levels)).macs)

    def inputs(self, rows: Sequence[Levels]) -> tuple[np.ndarray, np.ndarray]:
        """What a surrogate takes: (num_rows, num_features) int, and ln macs."""
        return np.array([self._features(row) for row in rows]), np.log([self.macs(row) for row in rows])

    def _features(self, levels: Levels) -> np.ndarray:
        """(num_features,) int: what `networks` says of an architecture.

        It is put together from what is known of its stages. Candidates are many, and stages are few.
        """
        features = np.empty(len(self._table["vocabulary"]), dtype=int)
        for number, (genes, places) in enumerate(self._parts):
            known = self._known.get((number, genes(levels)))
            if known is None:
                return self._read_features(levels)
            features[places] = known
        return features

    def _read_features(self, levels: Levels) -> np.ndarray:
        if len(self._known) > REMEMBERED:
            self._known.clear()
        features = np.array(self.networks.row(self.space.architecture(self._levels.genotype(levels)).to_spec()))
        for number, (genes, places) in enumerate(self._parts):
            self._known[number, genes(levels)] = features[places]
        return features

    @cached_property
    def recorded_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """`inputs` of every training."""
        return self.inputs(self._rows)

    def surrogate(self, column: str) -> GaussianProcess:
        """The process of a column, conditioned on every training that has a number there."""
        if column not in self._surrogates:
            process = GaussianProcess(self.networks.encoder)
            process.theta = np.array(self._table["surrogates"][column])
            has = np.isfinite(self.columns[column])
            levels, feature = self.recorded_inputs
            process.fit(levels[has], feature[has], self.columns[column][has], max_iterations=0)
            self._surrogates[column] = process
        return self._surrogates[column]

    def expected(self, column: str, rows: Sequence[Levels]) -> np.ndarray:
        """(num_rows,): what the surrogate of a column says of valid rows, without luck."""
        return self.surrogate(column).mean(*self.inputs(rows))

    def _told(self, column: str, levels: Levels) -> float:
        identity = self.identity(levels)
        number = self._first_of.get(identity)
        if number is not None and np.isfinite(self.columns[column][number]):
            return float(self.columns[column][number])
        [expected] = self.expected(column, [levels]).tolist()
        deviations = self.deviations
        if column not in deviations or not len(deviations[column]):
            return float(expected)
        luck = np.random.default_rng(int(identity[:16], 16)).integers(len(deviations[column]))
        return float(expected + deviations[column][luck])

    @cached_property
    def _first_of(self) -> Mapping[str, int]:
        """Architecture -> its training with the lowest seed."""
        order = np.argsort(self._seeds, kind="stable")[::-1]
        return {self._identities[number]: int(number) for number in order}

    @cached_property
    def deviations(self) -> Mapping[str, np.ndarray]:
        """Column -> how trainings of one architecture differ from their mean by their seed, scaled so that the variance
        has no bias. The n-th number of every column comes from the same training."""
        groups: dict[str, list[int]] = {}
        for number, identity in enumerate(self._identities):
            groups.setdefault(identity, []).append(number)
        several = [numbers for numbers in groups.values() if len(numbers) > 1]
        return {name: _deviations(values, several) for name, values in self.columns.items() if name != LATENCY}


def _parts(
    genes: Sequence[Gene], features: Sequence[str]
) -> Sequence[tuple[Callable[[Levels], object], Sequence[int]]]:
    """Of the stem and of each stage: what reads the levels of its genes, and where its features stand.

    A stage's features are those of its own genes; the stem has no say in them.
    """
    parts = []
    for label in dict.fromkeys(gene.name.partition("_")[0] for gene in genes):
        own = [place for place, gene in enumerate(genes) if gene.name.partition("_")[0] == label]
        begin = label.removeprefix("stage")
        parts.append((itemgetter(*own), [place for place, name in enumerate(features) if name.startswith(begin)]))
    return parts


def _conditions_by_level(values: Mapping[str, tuple[Value, ...]], conditions: Conditions) -> Conditions:
    return tuple((name, tuple(map(values[name].index, wanted))) for name, wanted in conditions)


def _columns(table: JSON) -> Mapping[str, np.ndarray]:
    trainings = table["trainings"]
    columns = dict(zip(CURVE, np.array(trainings["top1"], dtype=float).T, strict=True))
    for name, values in trainings["scores"].items():
        columns[name] = np.array(values, dtype=float)
    latencies = np.array(table["architectures"][LATENCY], dtype=float)
    if np.isfinite(latencies).any():
        columns[LATENCY] = np.log(latencies[trainings["architecture"]])
    return columns


def _deviations(values: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """(num_trainings of all groups,), with 0 for a group that lacks a number."""
    found = [np.zeros(0)]
    for group in groups:
        own = values[list(group)]
        scale = np.sqrt(len(own) / (len(own) - 1))
        found.append(np.nan_to_num((own - own.mean()) * scale))
    return np.concatenate(found)


def open_nano(name: str, known: bool, make_space: MakeSpace, path: Path = FILE) -> RecordedProblem:
    """A problem of NANO.

    Args:
        known: whether the cost is known before training.
        make_space: makes `hybrid_layout`.
        path: the file.

    Raises:
        InvalidInputError: if the file is missing, damaged, of another space, or has not recorded that yet; and if a
            latency is to be known.
    """
    content = read_file(path)
    table_name, cost_name = NANO[name]
    if known and cost_name == LATENCY:
        raise InvalidInputError(f"the latency of {name} is known only once it is timed; give --cost modelled")
    front = content["tables"].get(table_name, {}).get("fronts", {}).get(cost_name)
    if front is None:
        raise InvalidInputError(f"{name} is not recorded yet; `{RECORDING} --help` says how")
    tables = {label: open_table(content, label, make_space) for label in content["tables"]}
    table = tables.pop(table_name)
    curve = [partial(_told_percent, table, column) for column in CURVE]
    columns = [column for column in table.columns if column not in (CURVE[-1], LATENCY)]
    cost = table.macs if cost_name == "macs" else lambda levels: float(np.exp(table.told(LATENCY, levels)))
    scores: dict[str, Score] = {column: partial(map, partial(table.told, column)) for column in columns}
    for label, other in tables.items():
        scores[f"top1 on {label}"] = partial(other.expected, CURVE[-1])
    return RecordedProblem(
        name,
        table.genes,
        curve[-1],
        cost,
        cost if known else None,
        tuple(front["reference_point"]),
        front["hypervolume"],
        mean_percent=lambda rows: 100 * table.expected(CURVE[-1], rows).clip(0, 1),
        curve_percent=curve,
        scores=scores,
        repair=table.repair,
        identity=table.identity,
        traits=traits_of(table.space),
    )


def open_table(content: JSON, label: str, make_space: MakeSpace) -> NanoTable:
    """A table of what read_file gave, over its space."""
    table = content["tables"][label]
    space = content["card"]["space"]
    setting = table["setting"]
    made = make_space(
        space["scale"], setting["image_size"], setting["in_chans"], setting["num_classes"], space["mixers"]
    )
    return NanoTable(table, made)


def _told_percent(table: NanoTable, column: str, levels: Levels) -> float:
    return 100 * min(max(table.told(column, levels), 0.0), 1.0)
