"""Every golden file through our mixers: the authors' outputs, within 1e-5."""

from pathlib import Path

import pytest

from tests.golden_mixers import DATA, TOLERANCE, difference, load, run

INPUTS = ("c",)
"""What a file stores besides x that its module reads."""


@pytest.mark.parametrize("file", sorted(DATA.glob("*.npz")), ids=lambda file: file.stem)
def test_a_published_module_is_ours(file: Path) -> None:
    config, weights, tensors = load(file)
    inputs = {name: tensors[name] for name in INPUTS if name in tensors}
    outputs = run(config, weights, tensors["x"], **inputs)
    assert "y" in outputs
    for name, ours in outputs.items():
        assert ours.shape == tensors[name].shape
        assert difference(ours, tensors[name]) <= TOLERANCE, name
