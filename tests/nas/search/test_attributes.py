"""What a trial shows in Optuna's tools."""

import os
from pathlib import Path

import optuna
import pytest
from optuna.trial import create_trial

from nas.errors import InvalidInputError, NasError
from nas.records import Costs, Latency
from nas.search.attributes import (
    constraint_attributes,
    drawing_attributes,
    drawings_folder,
    latency_attribute,
    make_drawings_folder,
    trial_attributes,
)


def test_attributes_say_what_is_known_before_training() -> None:
    costs = Costs(param_count=1200, macs=34_000)
    known = {"layout": "conv x2", "arch_hash": "ab" * 32, "param_count": 1200, "macs": 34_000}
    assert trial_attributes(layout="conv x2", arch_hash="ab" * 32, costs=costs) == known
    assert trial_attributes(layout="conv x2", arch_hash="ab" * 32, costs=costs, reason="too big") == known | {
        "reason": "too big"
    }


def test_latency_is_shown_with_its_interval() -> None:
    latency = Latency(
        target={}, conditions={}, median_ms=1.23456, ci_low_ms=1.2, ci_high_ms=1.3, p95_ms=2.0, samples=60
    )
    assert latency_attribute(latency) == ("latency", "1.235 ms (95 % interval 1.2 to 1.3, p95 2, 60 samples)")


@pytest.mark.parametrize(
    ("values", "feasible"), [({"latency_ms": 0.0, "macs": -1.0}, True), ({"latency_ms": -1.0, "macs": 0.1}, False)]
)
def test_constraints_mean_the_same_to_optuna_and_to_the_dashboard(values: dict[str, float], feasible: bool) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trial(create_trial(values=[0.5, 1.0], system_attrs=constraint_attributes(values)))
    assert bool(study.best_trials) is feasible  # optuna drops infeasible trials
    (trial,) = study.trials
    assert [trial.constraints[name] for name in values] == list(values.values())
    assert (
        all(value <= 0 for value in trial.system_attrs["constraints"]) is feasible
    )  # optuna-dashboard 0.21 reads this list


def test_a_constraint_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="constraint macs is nan; only finite"):
        constraint_attributes({"macs": float("nan")})


def test_a_drawing_is_written_whole_under_a_name_of_its_own(tmp_path: Path) -> None:
    attributes = [drawing_attributes("<svg/>", tmp_path) for _ in range(2)]
    names = {key.removeprefix("artifacts:") for attribute in attributes for key in attribute}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "<svg/>")
    assert len(names) == 2


def test_a_drawing_that_cannot_be_kept_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"a drawing cannot be kept under .*: No such file or directory; make room"):
        drawing_attributes("<svg/>", tmp_path / "missing")


def test_the_folder_of_drawings_is_made_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_drawings_folder(tmp_path / "new" / "artifacts")
    assert folder == drawings_folder(tmp_path / "new" / "artifacts") and folder.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InvalidInputError, match=r"cannot make the folder .*drawings \(Not a directory\); give a folder"
    ):
        make_drawings_folder(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InvalidInputError, match=r"cannot write into the folder .*drawings; give a folder that you may"):
        make_drawings_folder(tmp_path)
