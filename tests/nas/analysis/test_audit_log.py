"""Trainings of an audit outlive a kill in the midst of a line, and are never mixed with those of another recipe."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.analysis.audit_log import AuditLog, AuditTraining
from nas.errors import NasError

TRAINING = AuditTraining(
    arch_hash="a" * 64,
    data_fingerprint="d",
    recipe_hash="r",
    seed=1000,
    top1=0.75,
    duration_s=9.5,
    device="cpu",
    zero_cost={"zico": 1.5},
)


def test_what_is_appended_is_read_and_a_later_line_replaces_an_earlier_one(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "s")
    assert log.read("d", "r", 1000) == {} and not log.path.exists()
    other = replace(TRAINING, arch_hash="b" * 64)
    again = replace(TRAINING, top1=0.8)
    for training in (TRAINING, other, again):
        log.append(training)
    assert log.read("d", "r", 1000) == {"a" * 64: again, "b" * 64: other}


@pytest.mark.parametrize("field", ["data_fingerprint", "recipe_hash", "seed"])
def test_trainings_of_another_kind_are_not_mixed_in(tmp_path: Path, field: str) -> None:
    log = AuditLog(tmp_path, "s")
    log.append(replace(TRAINING, **{field: 7 if field == "seed" else "other"}))
    assert log.read("d", "r", 1000) == {}


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "s")
    log.append(TRAINING)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole.replace(b"a" * 64, b"c" * 64)[:-20])
    assert log.read("d", "r", 1000) == {"a" * 64: TRAINING}
    other = replace(TRAINING, arch_hash="b" * 64)
    log.append(other)
    assert log.read("d", "r", 1000) == {"a" * 64: TRAINING, "b" * 64: other}


def test_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "s")
    log.append(TRAINING)
    log.path.write_bytes(b'{"arch_hash": "x"}\n[1]\n\xff\n' + log.path.read_bytes())
    assert log.read("d", "r", 1000) == {"a" * 64: TRAINING}


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "s")
    log.path.mkdir(parents=True)
    with pytest.raises(NasError, match=r"s\.jsonl cannot be read .* give another --artifacts"):
        log.read("d", "r", 1000)
    with pytest.raises(NasError, match=r"s\.jsonl cannot be written .* give another --artifacts"):
        log.append(TRAINING)
