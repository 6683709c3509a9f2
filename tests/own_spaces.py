"""Spaces of a user's own, for tests: the documented example, and one whose networks are its own."""

from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "my_space.py"

OWN_NETWORKS = """
import hashlib
import json
from dataclasses import dataclass

from nas.records import Costs, Gene
from search_spaces.genotypes import check_genotype, costliest, first_different, hash_space, mutants, sample_uniform

GENES = (Gene("hidden", (4, 8), True, "width of the only layer"),)


@dataclass(frozen=True)
class Network:
    hidden: int
    setting: tuple[int, int, int]

    @property
    def arch_hash(self):
        return hashlib.sha256(json.dumps(self.to_spec(), sort_keys=True).encode()).hexdigest()

    def to_spec(self):
        keys = ("image_size", "in_chans", "num_classes")
        return {"hidden": self.hidden, **dict(zip(keys, self.setting))}

    def layout(self):
        return f"{self.hidden} wide"


class PlainSpace:
    name = "plain"
    genes = GENES
    num_genotypes = 2

    def __init__(self, scale, *setting):
        self.scale = scale
        self.setting = setting
        self.space_hash = hash_space(GENES, {"setting": setting})

    def sample(self, rng):
        return sample_uniform(GENES, rng)

    def mutate(self, genotype, rng):
        return first_different(self, genotype, mutants(GENES, genotype, rng))

    def repair(self, genotype):
        check_genotype(GENES, genotype)
        return dict(genotype)

    def architecture(self, genotype):
        return Network(genotype["hidden"], self.setting)

    def costs(self, network):
        size, channels, classes = network.setting
        macs = network.hidden * (size * size * channels + classes)
        return Costs(param_count=macs + network.hidden + classes, macs=macs)

    def genotype_costs(self, genotype):
        return self.costs(self.architecture(genotype))

    def parts(self, network):
        return [("perceptron", self.costs(network).macs)]

    def presets(self):
        return {"small": {"hidden": 4}}

    def largest(self):
        return costliest(self)

    def slowest(self):
        return costliest(self)

    def draw(self, network):
        return "<svg></svg>"


def build(spec, drop_path_rate):
    from torch import nn

    pixels = spec["in_chans"] * spec["image_size"] ** 2
    hidden = nn.Linear(pixels, spec["hidden"])
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(spec["hidden"], spec["num_classes"]))


SPACE = PlainSpace
"""
"""A space of perceptrons, which only its own `build` builds."""


def write_example(folder: Path) -> Path:
    """The documented example as mine.py."""
    file = folder / "mine.py"
    file.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    return file


def write_own_networks(folder: Path) -> Path:
    """OWN_NETWORKS as plain.py."""
    file = folder / "plain.py"
    file.write_text(OWN_NETWORKS, encoding="utf-8")
    return file
