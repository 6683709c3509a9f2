"""The benchmark of a GPU says in one line that there is none; on a CPU it would take hours."""

import pytest
import torch

from benchmarks import gpu


def test_a_machine_without_a_gpu_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(
        "error: torch sees no GPU here; --device cpu --quick runs the same path in small\n"
    )
