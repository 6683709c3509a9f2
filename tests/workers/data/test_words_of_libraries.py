"""What we copied from libraries, to be spared their import, is still theirs."""

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.datasets.folder import IMG_EXTENSIONS

from workers.data import listing, source


def test_constants_are_those_of_timm_and_torchvision() -> None:
    assert (source.IMAGENET_MEAN, source.IMAGENET_STD) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert set(IMG_EXTENSIONS) == listing.IMG_EXTENSIONS
