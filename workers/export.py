"""Write a recorded trial to a model zoo: the body of `launch.py export`."""

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from nas.errors import InvalidInputError, ReadOnlyError
from nas.finalists.front import full_training
from nas.pareto.picks import pick_trial
from nas.protocols import StudyReader
from nas.records import FullTraining, StudyRecord, TrialFacts, facts_by_number
from nas.search.weights import read_weights
from nas.workspace import Workspace
from search_spaces.registry import require_ours
from search_spaces.zoo.card import CardFacts, FoundBySearch
from search_spaces.zoo.export import check_export, export_model
from search_spaces.zoo.index import MAX_NAME
from workers.data.registry import open_study_data
from workers.retrain import retrain


class ExportStore(StudyReader, Protocol):
    """What an export needs of a store."""

    def record_export(self, study: str, trial_number: int, name: str, path: str) -> None:
        """Note that a trial stands in a model zoo."""
        ...


@dataclass(kw_only=True, frozen=True, slots=True)
class ExportConfig:
    """What to write and where."""

    pick: str = "knee"
    """Which trial: knee, accuracy, latency, trial:N (a number) or latency:MS (milliseconds)."""
    zoo: Path = Path("zoo")
    """Folder of the zoo."""
    name: str | None = None
    """Name of the model; STUDY-tN by default."""
    onnx: bool = False
    """Add a checked ONNX file."""
    retrain: bool = False
    """Train it again as the search did, where its weights were not kept."""
    data: str | None = None
    """Where the data of the study lie, to train on; None for where they lay when it was created."""
    cache: str | None = None
    """Folder under which decoded images are kept, see EvaluationConfig."""
    overwrite: bool = False
    """Replace a model of that name."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A model in a zoo."""

    folder: Path
    """Folder of the model."""
    trial: TrialFacts
    """What was written; where it was trained again, with the scores of that training."""
    full: FullTraining | None
    """The trial's final trainings; None where the weights are those of the search."""
    note: str = ""
    """Line that says what could not be done beside it; empty where there is nothing to say."""


def load_text(folder: Path) -> str:
    """How a model of a zoo is loaded, for people."""
    return (
        f'load it: timm.create_model("local-dir:{folder}", pretrained=True) '
        "after importing hybrid_backbone from that folder"
    )


def default_name(study: str, trial_number: int) -> str:
    """STUDY-tN, as a name that a model of a zoo can have whatever the study is called."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", study).lstrip("-_") or "study"
    return f"{plain[: MAX_NAME - 20]}-t{trial_number}"


def export(study: StudyRecord, store: ExportStore, config: ExportConfig, workspace: Workspace) -> Exported:
    """Write a trial of a study with its weights, and note the export.

    Args:
        study: the study.
        store: open.
        config: what to write.
        workspace: where weights lie.

    Raises:
        InvalidInputError: if there is no such trial; if the name is taken, the weights were not kept or cannot be
            read, or the data of a training that was asked for cannot be used.
        NasError: if the database fails, or a training that was asked for.
    """
    facts = facts_by_number(store.facts(study.name))
    final = None if config.retrain else store.final_front(study.name)
    trial = pick_trial(config.pick, final or store.front(study.name), facts, study.cost_objective)
    full = full_training(final, store.final_trainings(study.name), trial.trial_number)
    name = config.name or default_name(study.name, trial.trial_number)
    require_ours(study, trial.spec)
    check_export(zoo=config.zoo, name=name, spec=trial.spec, onnx=config.onnx, overwrite=config.overwrite)
    kept = trial.weights if full is None else full.training.weights
    data = study.data_facts
    assert data is not None, "a study that trained networks had data"
    if config.retrain:
        trial, weights = retrain(study, trial, open_study_data(study, config.data, config.cache).text, config.cache)
    elif kept is not None:
        weights = read_weights(workspace.artifacts, kept)
    else:
        raise InvalidInputError(
            f"the weights of trial {trial.trial_number} were not kept, as it is not on the front; retrain it: "
            + _command(trial, full, workspace.study_words(study.name))
        )
    card = CardFacts(
        origin=FoundBySearch(study, trial, full, data.num_test),
        **data.preprocessing,
        label_names=data.label_names,
        # Without the database: a card is shown to everybody.
        command=_command(trial, full, f"--study {shlex.quote(study.name)}"),
        created=datetime.now(UTC),
    )
    folder = export_model(
        zoo=config.zoo,
        name=name,
        spec=trial.spec,
        weights=weights,
        card=card,
        onnx=config.onnx,
        overwrite=config.overwrite,
    )
    return Exported(folder, trial, full, _recorded(store, study, trial, folder))


def _recorded(store: ExportStore, study: StudyRecord, trial: TrialFacts, folder: Path) -> str:
    """Note the export in the study, or give the line that says why not."""
    try:
        store.record_export(study.name, trial.trial_number, folder.name, str(folder.resolve()))
    except ReadOnlyError as error:
        return f"note: the export is not recorded in the study: {error}"
    return ""


def _command(trial: TrialFacts, full: FullTraining | None, words: str) -> str:
    """The command line that makes the same weights again.

    Args:
        trial: of the study.
        full: its full training, where it was finalized.
        words: that name the study.
    """
    if full is not None:
        return f"python launch.py finalize {words}"
    return f"python launch.py export {words} --pick trial:{trial.trial_number} --retrain"
