"""Random crops while FFCV decodes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.workers.data.samples import AUGMENTED, CPU
from workers.data.registry import load_data, open_data


def test_crops_of_a_beton_file_follow_from_the_seed(beton: Path) -> None:
    """Each is a rectangle of one of the images, resized and mirrored as the generator of the training says."""
    import cv2
    from ffcv.reader import Reader

    from workers.data.beton.crop import draw_rectangles

    recipe = replace(AUGMENTED, max_shift=0, batch_size=27)
    seed = 3
    source = open_data(f"beton:{beton}")
    batches = load_data(source, recipe, CPU)
    crops, labels = next(batches.train(seed))
    again, _ = next(batches.train(seed))
    other, _ = next(batches.train(seed + 1))
    assert torch.equal(crops, again)
    assert not torch.equal(crops, other)

    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    assert len(pixels) == Reader(str(beton)).num_samples
    generator = torch.Generator().manual_seed(seed)
    torch.randint(2**31, (), generator=generator)  # the order
    rectangles = draw_rectangles(np.full(30, 64), np.full(30, 48), 0.5, generator)
    mirrored = torch.randint(2, (30,), generator=generator)
    assert set(mirrored.tolist()) == {0, 1}
    expected = []
    for image, (top, left, height, width), mirror in zip(pixels, rectangles.tolist(), mirrored.tolist(), strict=True):
        crop = cv2.resize(image[top : top + height, left : left + width], (32, 32), interpolation=cv2.INTER_AREA)
        expected.append(torch.from_numpy(crop[:, ::-1].copy() if mirror else crop).permute(2, 0, 1))
    shown = crops * 255 * torch.tensor(source.std).view(3, 1, 1) + 255 * torch.tensor(source.mean).view(3, 1, 1)
    found = [
        next(i for i, image in enumerate(expected) if torch.allclose(image.float(), one, atol=0.01)) for one in shown
    ]
    assert len(set(found)) == 27
    assert [index // 10 for index in found] == labels.tolist()


@pytest.mark.parametrize("min_crop_area", [0.5, 1.0])
def test_a_beton_file_gives_smaller_training_images_where_the_recipe_asks(beton: Path, min_crop_area: float) -> None:
    recipe = replace(AUGMENTED, min_crop_area=min_crop_area, image_size=24)
    batches = load_data(open_data(f"beton:{beton}"), recipe, CPU)
    assert next(batches.train(0))[0].shape == (8, 3, 24, 24)
    assert next(batches.validation())[0].shape == (3, 3, 32, 32)


def test_rectangles_have_the_areas_and_shapes_that_the_recipe_allows() -> None:
    pytest.importorskip("ffcv", reason="ffcv is not installed (extra `ffcv`)", exc_type=ImportError)
    from workers.data.beton.crop import draw_rectangles

    top, left, height, width = draw_rectangles(
        np.full(2000, 400), np.full(2000, 300), 0.3, torch.Generator().manual_seed(0)
    ).T
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == 300
    assert (left + width).max() == 400
    share = height * width / 120_000
    aspect = width / height
    assert share.min() > 0.29
    assert 0.6 < share.mean() < 0.66
    assert 0.74 < aspect.min() < 0.76
    assert 1.32 < np.quantile(aspect, 0.99) < 1.35
