"""Augmentation: what shifts and crops do to pixels."""

import torch

from workers.data.batches import random_resized_crop, shift


def test_a_shift_moves_every_image_by_its_own_whole_pixels() -> None:
    images = torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5).repeat(300, 1, 1, 1)
    moved = shift(images, 2, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    padded = torch.nn.functional.pad(images[:1], [2] * 4)[0, 0]
    windows = [padded[row : row + 5, column : column + 5] for row in range(5) for column in range(5)]
    found = {next(i for i, window in enumerate(windows) if torch.equal(window, image[0])) for image in moved}
    assert found == set(range(25))


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    images = torch.rand(4, 3, 16, 16)
    cropped = random_resized_crop(images, 16, 1.0, torch.Generator().manual_seed(0))
    # The aspect ratio varies even then; a constant gradient keeps its middle.
    assert cropped.shape == images.shape
    ramp = torch.linspace(-1, 1, 16).expand(200, 1, 16, 16).contiguous()
    crops = random_resized_crop(ramp, 16, 0.25, torch.Generator().manual_seed(0))
    widths = crops[:, 0, 8, -1] - crops[:, 0, 8, 0]
    assert float(widths.min()) > 2 * 0.25**0.5 * 0.75**0.5 * 0.9
    assert float(widths.max()) <= 2.0
    assert float(crops.min()) >= -1
    assert float(crops.max()) <= 1


def test_a_crop_is_the_affine_map_that_it_stands_for() -> None:
    images = torch.rand(8, 3, 20, 20)
    cropped = random_resized_crop(images, 16, 0.3, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    area = 0.3 + 0.7 * torch.rand(8, generator=generator)
    aspect = (4 / 3) ** (2 * torch.rand(8, generator=generator) - 1)
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).clamp(max=1.0)
    centre = (1 - extent) * (2 * torch.rand(8, 2, generator=generator) - 1)
    theta = torch.cat([torch.diag_embed(extent), centre[:, :, None]], dim=2)
    grid = torch.nn.functional.affine_grid(theta, [8, 3, 16, 16], align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(cropped, expected, atol=1e-4, rtol=0)


def test_a_crop_mirrors_as_if_the_image_had_been_mirrored_before() -> None:
    images = torch.randint(256, (6, 3, 20, 20), dtype=torch.uint8)
    mirrored = torch.tensor([True, False] * 3)
    before = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
    expected = random_resized_crop(before, 16, 0.3, torch.Generator().manual_seed(5))
    cropped = random_resized_crop(images, 16, 0.3, torch.Generator().manual_seed(5), mirrored)
    torch.testing.assert_close(cropped, expected, atol=1e-2, rtol=0)
