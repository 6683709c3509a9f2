"""Training-free scores: numbers of a sample of untrained networks, and a model of each that answers for every other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy

from nas.protocols import Traits
from nas.records import Gene, Genotype
from nas.surrogates.genes import GeneLevels
from nas.surrogates.proxies import AZ_NAS, PROXIES
from nas.surrogates.quality import FOLDS, Quality, held_out, quality_of
from nas.surrogates.scores import Fidelity, ModelledScore


@dataclass(frozen=True, slots=True)
class SampledNetwork:
    """What a worker computed of one network before any training."""

    genotype: Genotype
    values: Mapping[str, float]
    """Proxy -> its finite value."""
    reasons: Mapping[str, str]
    """Proxy -> why it has none."""


@dataclass(frozen=True)
class Sample:
    """The networks of a study whose training-free scores are known. It grows while workers compute."""

    genes: tuple[Gene, ...] = ()
    names: tuple[str, ...] = ()
    """The scores that are wanted, some of nas.surrogates.proxies.NAMES."""
    macs: Callable[[Genotype], float] = lambda genotype: 0.0
    """Multiply-adds of a valid genotype's network."""
    networks: dict[int, SampledNetwork] = field(default_factory=dict)
    """By their place in the order of drawing."""
    traits: Traits | None = None
    """What the models see in place of the genes."""

    @property
    def scores(self) -> tuple["TrainingFreeScore", ...]:
        """One for each name."""
        return tuple(TrainingFreeScore(name, self) for name in self.names)

    @property
    def proxies(self) -> tuple[str, ...]:
        """What workers compute for the scores."""
        wanted = {*self.names, *(AZ_NAS if "az_nas" in self.names else ())}
        return tuple(proxy for proxy in PROXIES if proxy in wanted)

    def lacking(self, place: int) -> tuple[str, ...]:
        """The proxies that were not tried yet for the network at this place."""
        network = self.networks.get(place)
        tried = {*network.values, *network.reasons} if network is not None else set()
        return tuple(proxy for proxy in self.proxies if proxy not in tried)

    def known(self, name: str) -> tuple[tuple[Genotype, float], ...]:
        """Genotypes and values of the networks that have this score, in the order of drawing."""
        wanted = AZ_NAS if name == "az_nas" else (name,)
        places = [place for place, network in sorted(self.networks.items()) if set(wanted) <= network.values.keys()]
        genotypes = [self.networks[place].genotype for place in places]
        columns = [self._values(proxy, places) for proxy in wanted]
        if name == "az_nas" and places:
            macs = [self.macs(genotype) for genotype in genotypes]
            columns = [az_nas_scores([*columns, macs]).tolist()]
        return tuple(zip(genotypes, columns[0], strict=True))

    def _values(self, proxy: str, places: Sequence[int]) -> list[float]:
        return [self.networks[place].values[proxy] for place in places]

    def text(self, name: str) -> str:
        """One line about how much of the sample has this score."""
        line = f"{name}: known of {len(self.known(name))} of {len(self.networks)} sampled networks"
        wanted = AZ_NAS if name == "az_nas" else (name,)
        for _, network in sorted(self.networks.items()):
            for proxy in wanted:
                if proxy in network.reasons:
                    return f"{line}; the first without: {network.reasons[proxy]}"
        return line


@dataclass(frozen=True)
class TrainingFreeScore:
    """A training-free score of every architecture: a model of the sample. It is asked once the sample is complete."""

    label: str
    sample: Sample
    fidelity: Fidelity = "none"

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        if self._modelled is None:
            return np.full(len(rows_ND), np.nan)
        return self._modelled(rows_ND)

    @cached_property
    def _modelled(self) -> ModelledScore | None:
        """None where too little is known for a model."""
        known = self.sample.known(self.label)
        if len({value for _, value in known}) < FOLDS:
            return None
        return ModelledScore(self.label, self.fidelity, self.sample.genes, known, self.sample.traits)

    def quality(self) -> Quality | None:
        """How well the model predicts networks of the sample that it has not seen; None without a model."""
        if self._modelled is None:
            return None
        known = self._modelled.known
        rows = GeneLevels(self.sample.genes).rows([genotype for genotype, _ in known])

        def predict(rest: np.ndarray, fold: np.ndarray) -> np.ndarray:
            seen = tuple(known[place] for place in rest)
            return ModelledScore(self.label, self.fidelity, self.sample.genes, seen, self.sample.traits)(rows[fold])

        predicted = held_out(len(known), predict)
        return quality_of(self.label, predicted, np.array([value for _, value in known]))


def az_nas_scores(columns_PN: Sequence[Sequence[float]]) -> np.ndarray:
    """Sum of the logarithms of the ranks by each column, within the sample, as shares of its size.

    Args:
        columns_PN: (num_proxies, num_networks): the three of AZ_NAS, and macs.

    Returns:
        (num_networks,) float64, at most 0.

    Source: Lee & Ham, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search", CVPR 2024.
    """
    ranks = scipy.stats.rankdata(columns_PN, axis=1)
    scores: np.ndarray = np.log(ranks / ranks.shape[1]).sum(axis=0)
    return scores
