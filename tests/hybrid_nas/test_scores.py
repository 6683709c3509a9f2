"""Scores from the first line of a search to what is said of them afterwards, without a training."""

import json
from pathlib import Path

import numpy as np

from hybrid_nas import api
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
    assert "trusted since training 10" in line
    assert "scores.json: r " in str(study.explain())
    assert all(trial.state == "COMPLETE" and trial.top1 == top1_of(trial.spec) for trial in study.trials)
    file.unlink()
    [line] = [line for line in study.status().lines if line.startswith("score ")]
    assert "not judged" in line
    assert "scores are not judged" in str(study.explain())
