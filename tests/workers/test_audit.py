"""Final trainings: which recipe and seed, what a failure does, and that processes give what this one would."""

import json
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from nas.analysis.audit_log import AuditLog, AuditTraining
from nas.errors import InvalidInputError, NasError
from nas.protocols import Failed
from nas.records import RungScore, StudyRecord, TrialFacts
from search_spaces.registry import find_own, make_space
from tests.own_spaces import write_own_networks
from tests.samples import study_record
from tests.samples import trial as sample_trial
from workers import audit as module
from workers.audit import AuditConfig, audit_study, train_all
from workers.data.registry import open_data
from workers.evaluation import EvaluationConfig
from workers.recipe import Recipe
from workers.training.recipes import RECIPES

RECIPE = Recipe(rungs=(1, 2), batch_size=16, learning_rate=5e-3, schedule="inverse_sqrt")
CONFIG = AuditConfig(count=5, times=2, workers=1)
SPACE = make_space("conv_only", "nano", 32, 1, 10)


@pytest.fixture(scope="module")
def study() -> StudyRecord:
    fingerprint = open_data("digits").fingerprint
    config = {"gpus_per_worker": 0.0, "data": "digits"}
    return replace(study_record(), recipe=RECIPE.to_json(), data_fingerprint=fingerprint, config=config)


@pytest.fixture(scope="module")
def facts() -> list[TrialFacts]:
    rng = np.random.default_rng(0)
    trials = []
    while len(trials) < 5:
        architecture = SPACE.architecture(SPACE.sample(rng))
        if architecture.arch_hash not in {trial.arch_hash for trial in trials}:
            rungs = tuple(
                RungScore(rung, rung + 1, (len(trials) + rung) / 10, 0.5, 1.5 * (rung + 1)) for rung in range(2)
            )
            known = replace(
                sample_trial(len(trials), 0.5, 1.0), arch_hash=architecture.arch_hash, spec=architecture.to_spec()
            )
            trials.append(replace(known, costs=SPACE.costs(architecture), rungs=rungs))
    return trials


def pool_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def made_up(monkeypatch: pytest.MonkeyPatch, failing: Collection[int] = ()) -> list[list[int]]:
    """Trainings that end at once; gives the trials of each call."""
    calls: list[list[int]] = []

    def train(config: EvaluationConfig, trials: list[TrialFacts], seed: int, workers: int) -> Iterator[Any]:
        calls.append([trial.trial_number for trial in trials])
        for trial in trials:
            training = AuditTraining(
                trial.arch_hash,
                str(config.data_fingerprint),
                config.recipe.hash,
                seed,
                0.1 * trial.trial_number,
                3.0,
                "cpu",
                {},
            )
            yield trial, "non-finite loss" if trial.trial_number in failing else training

    monkeypatch.setattr(module, "train_all", train)
    return calls


def test_the_final_recipe_is_the_searchs_made_longer_or_the_given_one(tmp_path: Path) -> None:
    longer = AuditConfig(times=3).final_recipe(RECIPE, 32)
    assert longer == replace(RECIPE, rungs=(6,), schedule="one_cycle")
    assert AuditConfig().final_recipe(RECIPE, 32).steps == 16
    assert AuditConfig(recipe="cifar").final_recipe(RECIPE, 32) == RECIPES["cifar"]
    file = tmp_path / "r.json"
    file.write_text(json.dumps(RECIPE.to_json()))
    assert AuditConfig(recipe=str(file)).final_recipe(RECIPES["nano"], 32) == replace(RECIPE, rungs=(2,))


def test_the_seed_is_never_the_searchs() -> None:
    assert AuditConfig().final_seed(7) == 1007
    assert AuditConfig(seed=3).final_seed(7) == 3
    with pytest.raises(InvalidInputError, match="--seed is 7, which the search had; give another one"):
        AuditConfig(seed=7).final_seed(7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 4}, "--count is 4; expected at least 5"),
        ({"times": 0}, "--times is 0; expected at least 1"),
        ({"workers": 0}, "--workers is 0; expected at least 1"),
        ({"seed": -1}, "--seed is -1; expected a whole number from 0 to 2147483647"),
        ({"seed": 10**30}, "expected a whole number from 0 to"),
        ({"times": 2, "recipe": "nano"}, "--times and --recipe are both given"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AuditConfig(**options)


def test_a_process_gives_what_this_one_does_and_a_second_audit_trains_nothing(
    study: StudyRecord, facts: list[TrialFacts], tmp_path: Path
) -> None:
    lines: list[str] = []
    result = audit_study(study, facts, CONFIG, AuditLog(tmp_path, "s"), lines.append)
    assert lines[0].startswith(
        "5 architectures, 4 steps of 16 images, seed 1007: 0 trained before, 5 to train, 1 at a time, about 30 s"
    )
    assert [line.partition(":")[0] for line in lines[1:]] == [f"{done} of 5" for done in range(1, 6)]
    assert pool_processes() == []
    recipe = CONFIG.final_recipe(RECIPE, 32)
    final = AuditLog(tmp_path, "s").read(study.data_fingerprint, recipe.hash, 1007)
    here = module._train(EvaluationConfig(data="digits", recipe=recipe), facts[3], 1007)
    assert isinstance(here, AuditTraining)
    assert replace(final[facts[3].arch_hash], duration_s=here.duration_s) == here
    assert here.zero_cost.keys() == {"synflow", "zico", "expressivity", "progressivity", "trainability"}
    lines.clear()
    assert audit_study(study, facts, CONFIG, AuditLog(tmp_path, "s"), lines.append) == result
    assert lines == ["5 architectures, 4 steps of 16 images, seed 1007: 5 trained before, nothing to train"]


def test_networks_of_a_users_own_have_no_training_free_scores(facts: list[TrialFacts], tmp_path: Path) -> None:
    file = str(write_own_networks(tmp_path))
    trial = replace(facts[0], spec=make_space(file, "nano", 32, 1, 10).largest().to_spec())
    config = EvaluationConfig(data="digits", recipe=CONFIG.final_recipe(RECIPE, 32), space_module=find_own(file))
    training = module._train(config, trial, 1007)
    assert isinstance(training, AuditTraining) and training.zero_cost == {}


def test_only_what_is_missing_is_trained(
    study: StudyRecord, facts: list[TrialFacts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path, "s")
    recipe_hash = CONFIG.final_recipe(RECIPE, 32).hash
    log.append(AuditTraining(facts[2].arch_hash, study.data_fingerprint, recipe_hash, 1007, 0.5, 1.0, "cpu", {}))
    calls = made_up(monkeypatch)
    audit_study(study, facts, CONFIG, log, print)
    audit_study(study, facts, replace(CONFIG, times=3), log, print)
    assert calls == [[0, 1, 3, 4], [0, 1, 2, 3, 4]]


def test_a_failed_training_is_reported_and_left_out(
    study: StudyRecord, facts: list[TrialFacts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [*facts, replace(facts[0], trial_number=5, arch_hash="f" * 64)]
    made_up(monkeypatch, failing={1})
    lines: list[str] = []
    result = audit_study(study, more, replace(CONFIG, count=6), AuditLog(tmp_path, "s"), lines.append)
    assert "2 of 6: trial 1 left out, its training failed: non-finite loss" in lines
    assert sorted(trial.trial_number for trial in result.trials) == [0, 2, 3, 4, 5]
    with pytest.raises(NasError, match="4 of 5 final trainings succeeded; an audit needs 5"):
        audit_study(study, facts, CONFIG, AuditLog(tmp_path / "other", "s"), print)


def test_a_failure_of_the_evaluation_has_its_reason(facts: list[TrialFacts], monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Failed(3, "local", "non-finite loss within the first 7 steps", retryable=False)
    monkeypatch.setattr(module, "evaluate", lambda job, context: (event for event in [failed]))
    assert module._train(EvaluationConfig(data="digits", recipe=RECIPE), facts[3], 1007) == failed


def test_no_memory_for_the_proxies_leaves_the_training(
    facts: list[TrialFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "zero_cost_scores", greedy)
    training = module._train(EvaluationConfig(data="digits", recipe=replace(RECIPE, rungs=(2,))), facts[3], 1007)
    assert isinstance(training, AuditTraining) and training.zero_cost == {}


def test_a_study_that_is_too_small_says_so(study: StudyRecord, facts: list[TrialFacts], tmp_path: Path) -> None:
    with pytest.raises(NasError, match="study 'sample' has 4 trials that can be audited; an audit needs 5: search on"):
        audit_study(study, facts[:4], CONFIG, AuditLog(tmp_path, "s"), print)


def test_other_data_than_the_studys_are_refused(facts: list[TrialFacts]) -> None:
    with pytest.raises(InvalidInputError, match="differ from those of the study"):
        module._train(EvaluationConfig(data="digits", recipe=RECIPE, data_fingerprint="0" * 64), facts[0], 1007)


def test_a_process_that_is_ended_ends_the_audit_with_one_line(facts: list[TrialFacts]) -> None:
    timer = threading.Timer(1.0, lambda: [child.kill() for child in pool_processes()])
    timer.start()
    with pytest.raises(
        NasError, match="a process that trained was ended, perhaps for lack of memory; what is finished is kept"
    ):
        next(train_all(EvaluationConfig(data="digits", recipe=replace(RECIPE, rungs=(10**6,))), facts[:1], 1007, 1))


def test_processes_do_not_inherit_the_storage_url(facts: list[TrialFacts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_STORAGE", "postgresql://me:secret@host/studies")
    seen: list[dict[str, str]] = []

    def look_and_end() -> None:
        for child in pool_processes():
            seen.append(child.environ())
            child.kill()

    threading.Timer(1.0, look_and_end).start()
    with pytest.raises(NasError, match="a process that trained was ended"):
        next(train_all(EvaluationConfig(data="digits", recipe=replace(RECIPE, rungs=(10**6,))), facts[:1], 1007, 1))
    assert seen and not [names for names in seen if "NAS_STORAGE" in names]
