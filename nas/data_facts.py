"""What is known of data without the images: how these became input, and what tells other data apart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from nas.errors import listed


@dataclass(kw_only=True, frozen=True, slots=True)
class DataFacts:
    """What a study records of its data, so that nobody needs the images to use its networks."""

    mean: tuple[float, ...]
    """Per channel, of images scaled to [0, 1]."""
    std: tuple[float, ...]
    interpolation: str
    """How validation images are resized. This and the two that follow are timm's words, with timm's meaning."""
    crop_pct: float
    """Share of the resized image's side that the crop keeps."""
    crop_mode: str
    label_names: tuple[str, ...]
    """In the order of the logits; empty where the classes have no names."""
    num_train: int
    """Images."""
    num_validation: int
    num_test: int

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What decides the input that a network is validated on."""
        names = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Inverse of to_json."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)

    def differences(self, expected: Self) -> str:
        """How these data differ from those that were expected, in words."""
        found = []
        for what, name in (("training", "num_train"), ("validation", "num_validation")):
            count = getattr(self, name)
            wanted = getattr(expected, name)
            if count != wanted:
                found.append(f"{count:,} {what} images, expected {wanted:,}")
        found += _other_classes(self.label_names, expected.label_names)
        return "; ".join(found) or "as many images in the same classes, but other contents or names of files"


def _other_classes(names: Sequence[str], expected: Sequence[str]) -> list[str]:
    """How the classes differ, in words; nothing where they are the same in the same order."""
    if names == expected:
        return []
    surplus = [name for name in names if name not in set(expected)]
    missing = [name for name in expected if name not in set(names)]
    if not surplus and not missing:
        return ["the same classes in another order"]
    told = [("surplus", surplus), ("missing", missing)]
    return [f"{what} classes: {listed(apart)}" for what, apart in told if apart]
