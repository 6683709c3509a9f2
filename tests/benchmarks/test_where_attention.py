"""Where attention stands, counted by hand on two networks and told of a recorded study."""

from pathlib import Path

import pytest

from benchmarks import where_attention
from benchmarks.where_attention import attentions, mixers
from search_spaces.published.families import PRESETS
from tests.recorded.record import unpack


def test_blocks_count_by_stage_and_attention_without_feed_forwards_alone() -> None:
    coatnet = PRESETS["coatnet_0"].architecture.to_spec()
    stages = mixers([coatnet, coatnet])
    assert [stage.total() for stage in stages] == [2, 4, 8, 2]
    assert [attentions(stage).total() for stage in stages] == [0, 0, 8, 2]


def test_it_tells_and_draws_a_recorded_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(tmp_path)
    storage = f"sqlite:///{tmp_path}/nas.db"
    picture = tmp_path / "picture.png"
    monkeypatch.setattr("sys.argv", ["", "--study", "recorded", "--storage", storage, "--picture", str(picture)])
    where_attention.main()
    told = capsys.readouterr().out
    assert "of 14 evaluated" in told
    assert [line[:4] for line in told.splitlines() if line.startswith("| ")][1:] == ["| 1 ", "| 2 ", "| 3 "]
    assert picture.read_bytes().startswith(b"\x89PNG")
