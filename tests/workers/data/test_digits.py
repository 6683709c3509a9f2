"""Canvases: disjoint sources, determinism, what is on them."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.workers.data.samples import AUGMENTED, CPU, PLAIN, check_batches, labels_of_the_test
from workers.data.digits import (
    IMAGE_SIZE,
    NUM_CANVASES,
    NUM_TEST,
    CanvasStyle,
    handwritten,
    make_canvases,
    open_digits,
    source_split,
)
from workers.data.outline import outline
from workers.data.registry import load_data, open_data


def test_no_source_image_is_in_two_splits_and_none_is_lost() -> None:
    split = source_split()
    together = np.concatenate(list(split.values()))
    assert len(together) == len(set(together.tolist())) == 1797
    assert [round(len(part) / 1797, 1) for part in split.values()] == [0.6, 0.2, 0.2]


def test_every_class_has_its_share_in_every_split() -> None:
    labels = load_digits().target
    shares = np.stack(
        [np.bincount(labels[part], minlength=10) / np.bincount(labels) for part in source_split().values()]
    )
    np.testing.assert_allclose(shares, np.tile([[0.6], [0.2], [0.2]], 10), atol=0.01)


def test_canvases_are_drawn_from_their_own_split_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources outside of the split are made invisible: the canvases stay the same. Sources inside: they change."""
    from workers.data import digits

    images, labels = digits._sources()
    before = make_canvases("validation", 200)
    for split, equal in (("train", True), ("test", True), ("validation", False)):
        blanked = images.clone()
        blanked[torch.from_numpy(source_split()[split])] = 0
        monkeypatch.setattr(digits, "_sources", lambda blanked=blanked: (blanked, labels))
        make_canvases.cache_clear()
        assert torch.equal(make_canvases("validation", 200).images, before.images) is equal
    make_canvases.cache_clear()


def test_equal_arguments_give_equal_canvases_and_another_seed_others() -> None:
    first = make_canvases("train", 300)
    make_canvases.cache_clear()
    again = make_canvases("train", 300)
    other = make_canvases("train", 300, seed=1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_classes_are_balanced_and_images_are_bytes() -> None:
    canvases = make_canvases("train", 500)
    assert torch.bincount(canvases.labels).tolist() == [50] * 10
    assert canvases.images.dtype == torch.uint8
    assert canvases.images.shape == (500, 1, IMAGE_SIZE, IMAGE_SIZE)


def test_the_digit_is_whole_and_brighter_than_the_fragments() -> None:
    quiet = CanvasStyle(noise=0.0)
    alone = make_canvases("train", 400, style=replace(quiet, num_fragments=0)).images
    border = torch.cat([alone[..., 0, :], alone[..., -1, :], alone[..., 0], alone[..., -1]], dim=-1)
    # A shear may push a corner of the source image over the edge, never much ink.
    assert border.float().mean() < 0.03 * 255
    with_fragments = make_canvases("train", 400, style=replace(quiet, fragment_brightness=0.6)).images
    added = with_fragments[(alone == 0) & (with_fragments > 0)]
    assert len(added) > 0
    assert int(added.max()) <= round(0.6 * 255)


def test_a_digit_is_placed_all_over_the_canvas_at_many_sizes() -> None:
    alone = make_canvases("train", 400, style=CanvasStyle(num_fragments=0, noise=0.0)).images.float()[:, 0]
    mass = alone.sum((1, 2))
    columns = (alone.sum(1) * torch.arange(IMAGE_SIZE)).sum(1) / mass
    rows = (alone.sum(2) * torch.arange(IMAGE_SIZE)).sum(1) / mass
    for centre in (rows, columns):
        assert float(centre.min()) < 12
        assert float(centre.max()) > 19
    assert float(mass.max() / mass.min()) > 3


def test_generation_takes_about_a_second() -> None:
    make_canvases.cache_clear()
    start = time.process_time()
    open_digits()
    assert time.process_time() - start < 5  # about 0.5 on an idle core; the rest is for a busy machine


def test_the_data_source_describes_the_canvases() -> None:
    source = open_digits()
    assert (source.num_train, source.num_validation, source.num_test) == (
        NUM_CANVASES["train"],
        NUM_CANVASES["validation"],
        NUM_TEST,
    )
    assert source.input_shape == (1, 32, 32)
    assert source.num_classes == 10
    assert source.label_names == tuple("0123456789")
    pixels = make_canvases("train", NUM_CANVASES["train"]).images.double() / 255
    assert source.mean == pytest.approx((float(pixels.mean()),), abs=1e-4)
    assert source.std == pytest.approx((float(pixels.std()),), abs=1e-4)


def test_digits_keep_what_every_kind_promises() -> None:
    source = open_data("digits")
    check_batches(load_data(source, AUGMENTED, CPU), channels=1, size=32, num_validation=source.num_validation)
    images = torch.cat([images for images, _ in load_data(source, PLAIN, CPU).validation()])
    assert abs(float(images.mean())) < 0.1
    assert abs(float(images.std()) - 1) < 0.1
    assert np.bincount(labels_of_the_test(source)).tolist() == [103] * 4 + [102] * 6


def test_the_table_is_that_of_scikit_learn() -> None:
    from workers.data.digits import _sources

    expected = load_digits()
    images, labels = _sources()
    assert torch.equal(images, torch.from_numpy(expected.images / 16.0).float()[:, None])
    assert torch.equal(labels, torch.from_numpy(expected.target).long())


def test_handwritten_digits_are_of_the_class_and_the_split_that_were_asked_for() -> None:
    known = load_digits()
    classes = torch.arange(10).repeat(20, 3)
    images = handwritten(classes, "validation", torch.Generator().manual_seed(0))
    assert images.shape == (20, 30, 8, 8)
    own = source_split()["validation"]
    classes_of = {known.images[index].tobytes(): known.target[index] for index in own}
    shown = (images.double() * 16).view(-1, 8, 8).numpy()
    assert [classes_of[image.tobytes()] for image in shown] == classes.flatten().tolist()


def test_the_outline_is_what_opening_gives_but_for_the_pixels() -> None:
    opened = open_data("digits")
    known = outline("digits")
    assert known is not None
    assert replace(opened, mean=(), std=(), fingerprint="") == known
    assert outline("folder:/nowhere") is None
