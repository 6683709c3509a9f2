"""What is derived from data before they are loaded."""

import numpy as np

from workers.data.source import evenly, hold_out, image_size_for


def test_the_image_size_follows_the_median_shorter_side() -> None:
    assert image_size_for([(500, 375)] * 3 + [(20, 20)]) == 128
    assert image_size_for([(96, 100)]) == 96
    assert image_size_for([(100, 70)]) == 64
    assert image_size_for([(9, 12)]) == 32


def test_a_hold_out_is_disjoint_complete_and_has_every_class() -> None:
    labels = np.array([0] * 100 + [1] * 10 + [2] * 2)
    train, validation = hold_out(labels, 0.1)
    assert sorted([*train, *validation]) == list(range(112))
    assert np.bincount(labels[validation]).tolist() == [10, 1, 1]
    np.testing.assert_array_equal(hold_out(labels, 0.1)[1], validation)


def test_evenly_takes_what_is_asked_for() -> None:
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly(range(3), 10) == [0, 1, 2]
