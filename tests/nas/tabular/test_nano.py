"""hybrid_nano: what was recorded is told as it was, and between it answers a surrogate with the luck of a seed."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import made_up, nano
from benchmarks.nano import build
from hybrid_nas.problems import open_problem
from nas.errors import InvalidInputError
from nas.pareto.front import hypervolume
from nas.records import JSON
from nas.surrogates.genes import GeneLevels
from nas.tabular.nano import LATENCY, NanoTable, features_of, open_nano, open_table, read_file
from nas.tabular.recorded import RecordedProblem
from nas.tabular.simulator import simulate
from search_spaces.hybrid_layout import HybridLayout

NUM = 40
SEEDED = 20
SPREAD = 0.02


def make_rows() -> list[JSON]:
    """Trainings whose accuracy follows a law: depth pays, the stem too, and a seed has luck."""
    space = HybridLayout("nano", 32, 1, 10, "core")
    levels = GeneLevels(space.genes)
    rng = np.random.default_rng(0)
    rows: list[JSON] = []
    for number in range(NUM):
        genotype = space.sample(rng)
        architecture = space.architecture(genotype)
        costs = space.costs(architecture)
        common = {"data": "digits", "architecture": architecture.arch_hash, "version": "0", "machine": "none"}
        for seed in range(3 if number < SEEDED else 1):
            law = 0.3 + 0.1 * genotype["stage2_depth"] + 0.1 * (genotype["stem"] == "conv")
            luck = SPREAD * rng.standard_normal()
            recorded = {
                "kind": "training",
                "part": "random",
                "levels": levels.canonical(levels.rows([genotype]))[0].tolist(),
                "seed": seed,
                "param_count": costs.param_count,
                "macs": costs.macs,
                "scores": {"zico": float(np.log(costs.macs))},
                "steps": [1, 2, 4, 8],
                "top1": [law / 8 + luck, law / 4 + luck, law / 2 + luck, law + luck],
                "cpu_s": [1.0, 2.0, 3.0, 4.0],
                "failed": None,
                "space": space.space_hash,
                "recipe": "recipe",
                "images": "images",
            }
            rows.append({**common, **recorded})
        timing = {"median_ms": 1 + costs.macs / 1e6, "ci_low_ms": 1.0, "ci_high_ms": 9.0, "target": {}}
        rows.append({**common, "kind": "latency", **timing})
    return rows


@pytest.fixture(scope="module")
def rows() -> list[JSON]:
    return make_rows()


@pytest.fixture(scope="module")
def file(rows: list[JSON], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nano") / "hybrid_nano.json.gz"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nano, "ITERATIONS", 15)
        patched.setattr(nano, "NUM_SAMPLED", 500)
        patched.setattr(made_up, "NUM_RANDOM", 100)
        patched.setattr(made_up, "GENERATIONS", 8)
        patched.setattr(made_up, "NUM_CHILDREN", 50)
        build(rows, path)
    return path


@pytest.fixture(scope="module")
def problem(file: Path) -> RecordedProblem:
    return open_nano("hybrid_nano", True, HybridLayout, file)


@pytest.fixture(scope="module")
def table(file: Path) -> NanoTable:
    return open_table(read_file(file), "digits", HybridLayout)


def unrecorded(table: NanoTable, count: int) -> list[tuple[int, ...]]:
    """Valid rows that nobody trained."""
    rng = np.random.default_rng(1)
    levels = GeneLevels(table.space.genes)
    return [levels.row(table.space.sample(rng)) for _ in range(count)]


def test_recorded_architectures_are_told_as_recorded(rows: list[JSON], problem: RecordedProblem) -> None:
    for row in rows:
        if row["kind"] == "training" and row["seed"] == 0:
            levels = tuple(row["levels"])
            assert problem.accuracy_percent(levels) == 100 * row["top1"][-1]
            assert [score(levels) for score in problem.curve_percent] == [100 * top1 for top1 in row["top1"]]
            assert problem.cost(levels) == row["macs"]
            assert list(problem.scores["zico"]([levels])) == pytest.approx([row["scores"]["zico"]], rel=1e-5)


def test_the_surrogate_finds_the_law_between_recorded_points(table: NanoTable) -> None:
    fresh = unrecorded(table, 40)
    genotypes = [GeneLevels(table.space.genes).genotype(row) for row in fresh]
    law = [0.3 + 0.1 * one["stage2_depth"] + 0.1 * (one["stem"] == "conv") for one in genotypes]
    expected = table.expected("top1", fresh)
    assert np.corrcoef(law, expected)[0, 1] > 0.9


def test_features_from_known_stages_are_those_of_the_whole_network(file: Path) -> None:
    table = open_table(read_file(file), "digits", HybridLayout)
    levels = GeneLevels(table.space.genes)
    rng = np.random.default_rng(0)
    stages = [gene.name.partition("_")[0] for gene in table.space.genes]
    parents = rng.integers(0, [len(gene.values) for gene in table.space.genes], (20, len(stages)))
    for parents[:, 0] in range(3):  # the stem
        table.inputs(list(map(tuple, parents.tolist())))
        chosen = {stage: rng.integers(20, size=50) for stage in stages}
        children = np.column_stack([parents[chosen[stage], place] for place, stage in enumerate(stages)])
        specs = [table.space.architecture(levels.genotype(child)).to_spec() for child in children]
        features, _ = table.inputs(list(map(tuple, children.tolist())))
        np.testing.assert_array_equal(features, [table.networks.row(spec) for spec in specs])


def test_between_recorded_points_luck_is_that_of_seeds(table: NanoTable) -> None:
    fresh = unrecorded(table, 200)
    luck, early = (
        [table.told(column, row) for row in fresh] - table.expected(column, fresh) for column in ("top1", "top1_eighth")
    )
    assert np.std(luck) == pytest.approx(SPREAD, rel=0.35) and abs(np.mean(luck)) < SPREAD / 3
    assert early == pytest.approx(luck, abs=1e-6)  # of one and the same training


def test_every_opening_answers_alike(file: Path, table: NanoTable) -> None:
    again = open_table(read_file(file), "digits", HybridLayout)
    fresh = unrecorded(table, 5)
    assert [again.told("top1", row) for row in reversed(fresh)] == [table.told("top1", row) for row in reversed(fresh)]


def test_genotypes_of_one_architecture_are_one_point(table: NanoTable) -> None:
    """`attention` and `every_k` of period 1, for example, are the same blocks, and their genes differ."""
    rng = np.random.default_rng(0)
    space = table.space
    levels = GeneLevels(space.genes)
    pairs = 0
    for _ in range(40):
        genotype = space.sample(rng)
        for gene in space.genes:
            other = space.repair({**genotype, gene.name: gene.values[0]})
            ours, theirs = (space.architecture(one) for one in (genotype, other))
            is_same = ours.arch_hash == theirs.arch_hash
            assert is_same == (features_of(ours.to_spec()) == features_of(theirs.to_spec()))
            if is_same and other != genotype:
                pairs += 1
                assert table.told("top1", levels.row(genotype)) == table.told("top1", levels.row(other))
    assert pairs > 20


@pytest.mark.parametrize(("name", "known"), [("hybrid_nano", True), ("hybrid_nano", False), ("hybrid_nano_cpu", False)])
def test_a_search_trains_distinct_valid_architectures(file: Path, name: str, known: bool) -> None:
    problem = open_nano(name, known, HybridLayout, file)
    run = simulate(problem, "ehvi", 0, 25, workers=4, failure_rate=0.1, rungs=2)
    assert run.counted == 25
    assert problem.identity is not None and problem.repair is not None
    assert len({problem.identity(row) for row in run.trained}) == len(run.trained)
    assert all(problem.repair(row) == row for row in run.trained)
    assert 0 < hypervolume(run.points, problem.reference_point) < 1.2 * problem.front_hypervolume


def test_rungs_are_those_that_were_recorded(problem: RecordedProblem) -> None:
    run = simulate(problem, "random", 0, 20, rungs=4)
    for trial in run.facts:
        levels = tuple(trial.spec["levels"])
        told = [score(levels) / 100 for score in problem.curve_percent[: len(trial.rungs)]]
        assert [rung.top1 for rung in trial.rungs] == told
    with pytest.raises(InvalidInputError, match="--rungs is 5, and hybrid_nano has 4 scores of each training"):
        simulate(problem, "random", 0, 20, rungs=5)


def test_a_damaged_file_is_refused(file: Path, tmp_path: Path) -> None:
    content = json.loads(gzip.decompress(file.read_bytes()))
    content["tables"]["digits"]["trainings"]["top1"][0][-1] += 0.1
    whole = file.read_bytes()
    damaged = tmp_path / "damaged.json.gz"
    for data in (gzip.compress(json.dumps(content).encode()), whole[: len(whole) // 2], b"{}", b""):
        damaged.write_bytes(data)
        with pytest.raises(InvalidInputError, match="is damaged: its content is not what its checksum says; install"):
            read_file(damaged)


def test_what_is_not_there_says_how_to_record_it(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"hybrid_nano is not in this package: .*; record it with `python -m"):
        open_nano("hybrid_nano", True, HybridLayout, tmp_path / "none.json.gz")
    with pytest.raises(InvalidInputError, match="hybrid_nano_images is not recorded yet; `python -m"):
        open_nano("hybrid_nano_images", True, HybridLayout, file)


def test_another_space_is_refused(file: Path) -> None:
    def other(scale: str, image_size: int, in_chans: int, num_classes: int, mixers: str) -> HybridLayout:
        return HybridLayout(scale, image_size, in_chans, num_classes, "core,window")

    with pytest.raises(InvalidInputError, match="hybrid_nano was recorded on another hybrid_layout"):
        open_nano("hybrid_nano", True, other, file)


def test_unfit_rows_make_no_table(rows: list[JSON], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="there are 3 trainings; a table needs 20"):
        build(rows[:3], tmp_path / "few.json.gz")
    with pytest.raises(InvalidInputError, match="the rows differ in 'recipe'"):
        build([{**rows[0], "recipe": "other"}, *rows[1:]], tmp_path / "mixed.json.gz")


def test_latencies_are_those_that_were_timed(rows: list[JSON], file: Path) -> None:
    timed = open_nano("hybrid_nano_cpu", False, HybridLayout, file)
    by_hash = {row["architecture"]: row["median_ms"] for row in rows if row["kind"] == "latency"}
    for row in rows:
        if row["kind"] == "training":
            assert timed.cost(tuple(row["levels"])) == pytest.approx(by_hash[row["architecture"]])
    assert LATENCY not in timed.scores
    with pytest.raises(InvalidInputError, match="known only once it is timed; give --cost modelled"):
        open_nano("hybrid_nano_cpu", True, HybridLayout, file)


def test_an_unknown_problem_is_refused_with_all_names() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown problem 'micro'; expected one of macro, .*hybrid_nano"):
        open_problem("micro", Path("nowhere"), True)
