"""Scores from the first line of a search to what is said of them afterwards, without a training."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_nas import api
from nas.errors import InvalidInputError
from nas.records import JSON
from search_spaces.registry import make_space


def top1_of(spec: JSON) -> float:
    """More channels are better, less and less."""
    channels = sum(stage["width"] * len(stage["blocks"]) for stage in spec["stages"])
    return float(0.2 + 0.6 * channels / (channels + 400))


def write_scores(path: Path) -> None:
    space = make_space("conv_only", "nano", 32, 1, 10)
    rng = np.random.default_rng(0)
    genotypes = [space.sample(rng) for _ in range(60)]
    scores = [7 * top1_of(space.architecture(genotype).to_spec()) for genotype in genotypes]
    rows = [{"genotype": genotype, "score": score} for genotype, score in zip(genotypes, scores, strict=True)]
    path.write_text(json.dumps(rows))


def test_status_and_explain_say_what_a_score_was_worth_and_that_its_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_scores(file)
    study = api.search(
        space="conv_only",
        budget=20,
        storage=f"sqlite:///{tmp_path}/nas.db",
        objectives="top1,macs",
        scores=str(file),
        evaluate=top1_of,
        quiet=True,
    )
    [line] = [line for line in study.status().lines if line.startswith("score ")]
    assert "scores.json: r " in line
    assert "trusted since trial 10" in line
    assert "scores.json: r " in str(study.explain())
    assert all(trial.state == "COMPLETE" and trial.top1 == top1_of(trial.spec) for trial in study.trials)
    file.unlink()
    [line] = [line for line in study.status().lines if line.startswith("score ")]
    assert "not judged" in line
    assert "scores are not judged" in str(study.explain())


@pytest.mark.parametrize(
    ("scores", "more", "said"),
    [
        ("zico", {"evaluate": top1_of}, "scores has zico, which workers compute"),
        ("zico,az_nas", {"sampler": "tpe"}, "--scores has zico,az_nas, and the sampler tpe uses no scores"),
        ("own.csv", {"sampler": "random"}, "and the sampler random uses no scores"),
        ("a.csv,b.csv", {}, "--scores has 'a.csv,b.csv'; expected one file at most"),
        ("zicoo", {}, "--scores has 'zicoo'; expected names of training-free scores"),
        ("nothing.json", {"evaluate": top1_of}, "nothing.json cannot be read"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_before_anything_is_recorded(
    tmp_path: Path, scores: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        api.search(
            space="conv_only",
            budget=20,
            storage=f"sqlite:///{tmp_path}/nas.db",
            objectives="top1,macs",
            scores=scores,
            quiet=True,
            **more,
        )
    with contextlib.suppress(InvalidInputError):  # no database, or one without a study
        assert api.studies(f"sqlite:///{tmp_path}/nas.db") == []
