"""Weights as files: whole, a study's own, and proved when they are read."""

from pathlib import Path

import pytest

from nas.errors import InvalidInputError, NasError
from nas.records import KeptWeights
from nas.search.weights import WeightsFolder, read_weights
from tests.samples import TRIALS

CONTENT = bytes(range(256))
SHA256 = "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880"


def test_what_is_kept_is_read_back_and_dropped(tmp_path: Path) -> None:
    folder = WeightsFolder(tmp_path, "s-0123abcd")
    kept = folder.keep(TRIALS[3], CONTENT)
    assert kept == KeptWeights("weights/s-0123abcd/trial-000003-000000000000.safetensors", SHA256)
    assert read_weights(tmp_path, kept) == CONTENT
    folder.drop(kept)
    folder.drop(kept)
    assert not (tmp_path / kept.path).exists()
    with pytest.raises(
        InvalidInputError, match=r"trial-000003-\S+ cannot be read \(No such file.*--artifacts.*--retrain"
    ):
        read_weights(tmp_path, kept)


@pytest.mark.parametrize("place", [0, 128, 255])
def test_an_altered_byte_is_refused_and_the_file_is_named(tmp_path: Path, place: int) -> None:
    kept = WeightsFolder(tmp_path, "s").keep(TRIALS[3], CONTENT)
    altered = bytearray(CONTENT)
    altered[place] ^= 1
    (tmp_path / kept.path).write_bytes(altered)
    with pytest.raises(InvalidInputError, match=r"trial-000003-\S+ are not those that were recorded.*--retrain"):
        read_weights(tmp_path, kept)


def test_weights_that_cannot_be_kept_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("in the way")
    with pytest.raises(NasError, match=r"weights cannot be kept under .*weights/s: .*--artifacts"):
        WeightsFolder(tmp_path, "s").keep(TRIALS[3], CONTENT)
