"""Train a recorded trial again, for an export of one whose weights were not kept. Runs in the calling process."""

from dataclasses import replace

from nas.errors import NasError
from nas.protocols import Failed, Finished, Job, RungReached
from nas.records import StudyRecord, TrialFacts
from search_spaces.registry import building_module
from workers.devices import device_as_recorded
from workers.evaluate import EvaluationContext, evaluate
from workers.evaluation import EvaluationConfig
from workers.recipe import Recipe


def retrain(study: StudyRecord, trial: TrialFacts, data: str, cache: str | None = None) -> tuple[TrialFacts, bytes]:
    """Train with the study's data and recipe and the trial's seed, on a GPU if the study did and there is one.

    Args:
        trial: one of the study's.
        data: what opens the study's data on this machine.
        cache: folder under which decoded images are kept, see EvaluationConfig.

    Returns:
        The facts of the trial with the scores of this training, which on another device differ a little, and its
        weights (safetensors).

    Raises:
        InvalidInputError: if the data cannot be used, or are not those of the study.
        NasError: if the training fails.
    """
    config = EvaluationConfig(
        data=data,
        recipe=Recipe.from_json(study.recipe),
        data_fingerprint=study.data_fingerprint,
        data_facts=study.data_facts,
        device=device_as_recorded(study.device),
        cache=cache,
        space_module=building_module(study, trial.spec),
    )
    events = evaluate(Job(trial.trial_number, trial.spec, trial.seed), EvaluationContext(config))
    event = next(events)
    rungs = []
    while isinstance(event, RungReached):
        rungs.append(event.score)
        event = next(events) if event.last else events.send(True)
    if isinstance(event, Failed):
        raise NasError(f"training trial {trial.trial_number} again failed: {event.reason}")
    assert isinstance(event, Finished) and event.weights is not None, (
        "a training that was never answered with stop ends with weights"
    )
    return replace(trial, rungs=tuple(rungs), device=event.device), event.weights
