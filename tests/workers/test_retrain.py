"""Training a recorded trial again."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from nas.errors import InvalidInputError, NasError
from nas.protocols import Failed
from nas.records import StudyRecord, TrialFacts
from search_spaces.registry import make_space
from tests.own_spaces import write_own_networks
from tests.samples import study_record
from tests.samples import trial as sample_trial
from workers.data.registry import open_data
from workers.recipe import Recipe
from workers.retrain import retrain

RECIPE = Recipe(rungs=(2, 4), batch_size=32, learning_rate=5e-3)


@pytest.fixture(scope="module")
def study() -> StudyRecord:
    fingerprint = open_data("digits").fingerprint
    return replace(
        study_record(), recipe=RECIPE.to_json(), data_fingerprint=fingerprint, config={"gpus_per_worker": 0.0}
    )


@pytest.fixture(scope="module")
def trial() -> TrialFacts:
    space = make_space("conv_only", "nano", 32, 1, 10)
    return replace(
        sample_trial(3, 0.99, 1.0), spec=space.architecture(space.sample(np.random.default_rng(0))).to_spec()
    )


def test_every_rung_is_trained_and_the_scores_are_those_of_the_weights(study: StudyRecord, trial: TrialFacts) -> None:
    facts, weights = retrain(study, trial, "digits")
    assert [(score.rung, score.steps) for score in facts.rungs] == [(0, 2), (1, 4)]
    assert facts.top1 != trial.top1
    assert facts.device == "cpu"
    same = {name for name in asdict(facts) if name not in ("rungs", "device")}
    assert {name: asdict(facts)[name] for name in same} == {name: asdict(trial)[name] for name in same}
    assert safetensors.torch.load(weights)
    assert retrain(study, trial, "digits")[1] == weights


def test_networks_of_a_users_own_are_built_by_their_module(
    study: StudyRecord, trial: TrialFacts, tmp_path: Path
) -> None:
    file = str(write_own_networks(tmp_path))
    space = make_space(file, "nano", 32, 1, 10)
    own = replace(study, space=space.name, space_module=file, space_hash=space.space_hash)
    _, weights = retrain(own, replace(trial, spec=space.largest().to_spec()), "digits")
    assert set(safetensors.torch.load(weights)) == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_a_failure_is_reported(study: StudyRecord, trial: TrialFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Failed(3, "local", "loss is nan at step 7", retryable=False)
    monkeypatch.setattr("workers.retrain.evaluate", lambda job, context: iter([failed]))
    with pytest.raises(NasError, match="training trial 3 again failed: loss is nan at step 7"):
        retrain(study, trial, "digits")


def test_other_data_are_refused(study: StudyRecord, trial: TrialFacts) -> None:
    with pytest.raises(InvalidInputError, match="differ from those of the study"):
        retrain(replace(study, data_fingerprint="0" * 64), trial, "digits")
