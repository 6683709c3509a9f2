"""Training-free scores in the loop: when the sample is computed, what is recorded of it, and what never depends on
it."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from db.store import open_store
from nas.errors import InvalidInputError
from nas.protocols import Event, Failed, Job, NetworkScored
from nas.samplers.ehvi import RANDOM_TRAININGS
from nas.search.events import Note, SearchEvent
from nas.search.given_scores import given_scores
from nas.search.scoring import SIZE, drawn, recorded_sample
from nas.search.study import SearchStudy, open_optuna_storage
from nas.surrogates.proxies import NAMES
from nas.surrogates.training_free import TrainingFreeScore
from tests.doubles import ScriptedEvaluator, TinySpace
from tests.nas.search.test_loop import Bench, Killed, hashes

SPACE = TinySpace(levels=12)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def scored(jobs: list[Job]) -> list[int]:
    return [job.trial_number for job in jobs if job.proxies]


def names_of(bench: Bench) -> dict[int, dict]:
    storage = open_optuna_storage(bench.url, {})
    networks = recorded_sample(["zico"], "s", SPACE, storage).networks
    storage.engine.dispose()
    return {place: dict(network.values) for place, network in networks.items()}


def search(bench: Bench, budget: int, evaluator: ScriptedEvaluator | None = None, **options: object) -> list[Job]:
    evaluator = evaluator or ScriptedEvaluator()
    bench.run(budget, evaluator, SPACE, **{"scores": "zico,synflow", "warm_start": "none", **options})
    return evaluator.submitted


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Scores that the sampler asked, each time of the whole sample."""
    labels: set[str] = set()
    original = TrainingFreeScore.__call__

    def watched(self: TrainingFreeScore, rows: np.ndarray) -> np.ndarray:
        labels.add(self.label)
        assert len(self.sample.networks) == SIZE
        return original(self, rows)

    monkeypatch.setattr(TrainingFreeScore, "__call__", watched)
    return labels


@pytest.mark.parametrize("num_workers", [1, 4])
def test_the_sample_is_computed_once_between_the_first_trainings(
    bench: Bench, num_workers: int, asked: set[str]
) -> None:
    jobs = search(bench, 20, ScriptedEvaluator(num_workers=num_workers))
    assert sorted(scored(jobs)) == list(range(-SIZE, 0))
    assert {job.proxies for job in jobs if job.proxies} == {("synflow", "zico")}
    numbers = [job.trial_number for job in jobs]
    first_asked = numbers.index(RANDOM_TRAININGS)
    assert len(scored(jobs[:first_asked])) == SIZE, "the sampler asks a score from there on"
    assert numbers[0] == 0 and not jobs[0].proxies, "the first training waits for nothing"
    share = [len(scored(jobs[: numbers.index(trial)])) for trial in range(RANDOM_TRAININGS)]
    assert max(np.diff(share)) <= SIZE / RANDOM_TRAININGS * num_workers
    assert bench.states() == [TrialState.COMPLETE] * 20
    assert len(set(hashes(bench))) == 20


@dataclass
class SlowScoring(ScriptedEvaluator):
    """The scores of the last network take as long as several trainings."""

    polls: int = 12
    held: list[Event] = field(default_factory=list)

    def events(self, timeout_s: float) -> Sequence[Event]:
        events = [*self.held, *super().events(timeout_s)]
        self.held = [event for event in events if isinstance(event, NetworkScored) and event.trial_number == -SIZE]
        if not self.held:
            return events
        if not self.polls:
            self.held = []
            return events
        self.polls -= 1
        return [event for event in events if event not in self.held]


def test_the_sampler_waits_for_a_score_that_takes_long(bench: Bench, asked: set[str]) -> None:
    evaluator = SlowScoring(num_workers=3)
    search(bench, 14, evaluator)
    assert evaluator.polls == 0 and asked
    assert bench.states() == [TrialState.COMPLETE] * 14


def test_scores_guide_the_search_and_enter_no_fact(bench: Bench, tmp_path: Path, asked: set[str]) -> None:
    search(bench, 25)
    assert asked == {"zico", "synflow"}
    plain = Bench(tmp_path / "plain")
    search(plain, 25, scores=None)
    assert hashes(bench)[:RANDOM_TRAININGS] == hashes(plain)[:RANDOM_TRAININGS]
    assert hashes(bench) != hashes(plain)
    by_hash = {facts.arch_hash: facts for facts in plain.facts()}
    both = [facts for facts in bench.facts() if facts.arch_hash in by_hash]
    assert all(facts.top1 == by_hash[facts.arch_hash].top1 for facts in both)


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_studies(tmp_path: Path, seed: int) -> None:
    first, second = Bench(tmp_path / "a"), Bench(tmp_path / "b")
    search(first, 20, seed=seed)
    search(second, 20, seed=seed)
    assert [trial.params for trial in first.trials()] == [trial.params for trial in second.trials()]
    assert names_of(first) == names_of(second)
    assert drawn(SPACE, {}, seed) != drawn(SPACE, {}, seed + 1)


@pytest.mark.parametrize("kill_after", [1, 37, SIZE - 1])
def test_a_killed_search_computes_no_network_twice_and_keeps_its_budget(
    bench: Bench, kill_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = 0
    original = SearchStudy.keep

    def keep(self: SearchStudy, key: str, value: dict) -> None:
        nonlocal kept
        if kept == kill_after:
            raise Killed
        kept += 1
        original(self, key, value)

    before = ScriptedEvaluator()
    with monkeypatch.context() as patch:
        patch.setattr(SearchStudy, "keep", keep)
        patch.setattr(SearchStudy, "release", lambda self, number: None)
        with pytest.raises(Killed):
            search(bench, 20, before, scores=names_and_a_file(bench))
    after = ScriptedEvaluator()
    search(bench, 20, after, scores=names_and_a_file(bench))
    assert len(set(scored(before.submitted)) & set(scored(after.submitted))) <= 1, "at most what was in flight"
    assert sorted({*scored(before.submitted), *scored(after.submitted)}) == list(range(-SIZE, 0))
    assert bench.states() == [TrialState.COMPLETE] * 20
    assert len(set(hashes(bench))) == 20
    assert search(bench, 24, scores="zico,synflow")[0].proxies == (), "the whole sample is known"


def names_and_a_file(bench: Bench) -> str:
    """Two training-free scores and numbers of the user's."""
    rng = np.random.default_rng(0)
    rows = [{"genotype": SPACE.sample(rng), "score": float(rng.normal())} for _ in range(30)]
    bench.folder.mkdir(exist_ok=True)
    file = bench.folder / "mine.json"
    file.write_text(json.dumps(rows))
    return f"zico,synflow,{file}"


def failing(rate: float, seed: int = 0) -> Callable[[Job], Failed | None]:
    """Jobs of every kind fail at random, one in two by the machine's fault."""
    rng = np.random.default_rng(seed)

    def failure(job: Job) -> Failed | None:
        if rng.random() >= rate:
            return None
        return Failed(job.trial_number, "worker 0", "injected", retryable=bool(rng.random() < 0.5))

    return failure


@pytest.mark.parametrize("num_workers", [1, 4])
def test_one_failure_in_five_leaves_the_budget_exact(bench: Bench, num_workers: int) -> None:
    evaluator = ScriptedEvaluator(num_workers=num_workers, failure=failing(0.2), num_rungs=3)
    jobs = search(bench, 30, evaluator, rungs=3, scores=names_and_a_file(bench))
    facts = bench.facts()
    counted = [trial for trial in facts if trial.state in ("COMPLETE", "PRUNED")]
    assert len(counted) == 30
    assert len({trial.arch_hash for trial in facts}) == len(facts)
    with contextlib.closing(open_store(bench.url)) as store:
        front = store.front("s")
        assert front is not None and store.check_fronts("s") == []
    complete = {trial.trial_number for trial in facts if trial.state == "COMPLETE"}
    assert {member.trial_number for member in front.members} <= complete
    assert len(set(scored(jobs))) == SIZE
    assert 0.7 * SIZE < sum("zico" in values for values in names_of(bench).values()) < SIZE


def test_what_failed_is_said_in_one_line_for_each_score(bench: Bench) -> None:
    heard: list[SearchEvent] = []

    def failure(job: Job) -> Failed | None:
        wrong = job.trial_number % 10 == 0 and bool(job.proxies)
        return Failed(job.trial_number, "worker 0", "out of memory: 1 GB", retryable=False) if wrong else None

    bench.run(12, ScriptedEvaluator(failure=failure), SPACE, scores="zico", warm_start="none", on_event=heard.append)
    lines = [event.text for event in heard if isinstance(event, Note)]
    assert lines == ["zico: known of 90 of 100 sampled networks; the first without: out of memory: 1 GB"]


def test_a_lost_worker_is_not_the_end_of_a_score(bench: Bench) -> None:
    def failure(job: Job) -> Failed | None:
        lost = job.trial_number == -5 and job.attempt < 2
        return Failed(job.trial_number, "worker 0", "worker died", retryable=True) if lost else None

    jobs = search(bench, 12, ScriptedEvaluator(failure=failure))
    assert [job.attempt for job in jobs if job.trial_number == -5] == [0, 1, 2]
    assert len(names_of(bench)) == SIZE


def test_a_score_that_is_named_later_is_computed_of_the_same_networks(bench: Bench) -> None:
    search(bench, 12, scores="zico")
    known = names_of(bench)
    jobs = search(bench, 14, scores="zico,trainability")
    assert {job.proxies for job in jobs if job.proxies} == {("trainability",)}
    assert [job.trial_number for job in jobs[:SIZE]] == list(range(-1, -1 - SIZE, -1)), "before the next proposal"
    assert {place: values["zico"] for place, values in names_of(bench).items()} == {
        place: values["zico"] for place, values in known.items()
    }


def test_a_study_without_names_records_no_network(bench: Bench) -> None:
    assert not scored(search(bench, 12, scores=None))
    attributes = optuna.load_study(study_name="s", storage=bench.url)._storage.get_study_system_attrs(1)
    assert not [key for key in attributes if key.startswith("hybrid_nas")]


def test_the_sample_keeps_limits_and_is_smaller_than_a_small_space() -> None:
    limited = drawn(SPACE, {"param_count": 10.0}, 0)
    assert limited and all(SPACE.genotype_costs(genotype).param_count <= 10 for genotype in limited)
    assert len(drawn(TinySpace(levels=2), {}, 0)) == TinySpace(levels=2).num_architectures


@pytest.mark.parametrize(
    ("text", "names", "file"),
    [
        ("zico", ("zico",), None),
        ("zico, az_nas,zico", ("zico", "az_nas"), None),
        ("az_nas,mine.json", ("az_nas",), "mine.json"),
        ("a,b.csv", (), "a,b.csv"),
    ],
)
def test_names_come_first_and_a_file_last(
    text: str, names: tuple[str, ...], file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = given_scores(text)
    assert (given.names, given.file) == (names, None if file is None else tmp_path / file)
    assert given_scores(str(given)) == given


@pytest.mark.parametrize("text", ["zicoo", "zico,az", "nothing,zico", "mine"])
def test_an_unknown_name_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidInputError, match="expected names of training-free scores") as refused:
        given_scores(text)
    assert all(name in str(refused.value) for name in NAMES)
