"""Training-free scores of a sample of networks, which workers compute between the first trainings of a search.

The sampler asks no score before RANDOM_TRAININGS trainings have begun, and the search begins no other before the sample
is complete. So what is known at an ask does not depend on how fast workers are. What was computed is recorded with the
study, and never computed again.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from nas.protocols import MAX_RETRIES, Failed, Job, NetworkScored, SearchSpace, traits_of
from nas.records import Genotype
from nas.samplers.ehvi import RANDOM_TRAININGS
from nas.search.proposals import excesses
from nas.search.study import SearchStudy, Storage, kept_values
from nas.surrogates.training_free import Sample, SampledNetwork

SIZE = 100
"""Networks of a sample."""
TRIES = 1000
"""Random genotypes that are looked at for it; a small space, or one with tight limits, gives fewer networks."""
KEY = "hybrid_nas:network:"
"""Before the place of a network of the sample, in the name of what is recorded of it."""


def recorded_sample(names: Sequence[str], study: str, space: SearchSpace, storage: Storage) -> Sample:
    """What is recorded of the sample of a study.

    Args:
        names: of the training-free scores that are wanted.
        study: its name; it need not exist yet.
        space: what it searches.
        storage: Optuna's.

    Raises:
        NasError: if the database fails.
    """
    kept = kept_values(storage, study) if names else {}
    networks = {int(key.removeprefix(KEY)): SampledNetwork(**kept[key]) for key in kept if key.startswith(KEY)}
    return Sample(
        space.genes,
        tuple(names),
        lambda genotype: float(space.genotype_costs(genotype).macs),
        networks,
        traits_of(space),
    )


def drawn(space: SearchSpace, limits: Mapping[str, float], seed: int) -> list[Genotype]:
    """Valid genotypes of distinct architectures within the limits on size, the same for equal arguments."""
    rng = np.random.default_rng((seed, SIZE))
    found: dict[str, Genotype] = {}
    for _ in range(TRIES):
        genotype = space.sample(rng)
        if all(excess <= 0 for excess in excesses(space.genotype_costs(genotype), limits).values()):
            found.setdefault(space.architecture(genotype).arch_hash, genotype)
        if len(found) == SIZE:
            break
    return list(found.values())


class Scoring:
    """Which network of the sample is to be scored, and when."""

    def __init__(
        self, sample: Sample, space: SearchSpace, limits: Mapping[str, float], seed: int, study: SearchStudy
    ) -> None:
        """Go on with what is recorded.

        Args:
            sample: as recorded; it is added to.
            space: what is searched.
            limits: of the search.
            seed: of the study: what the sample is drawn from, and of every network's initialisation.
            study: where the networks are recorded.
        """
        self._sample = sample
        self._space = space
        self._seed = seed
        self._study = study
        genotypes = dict(enumerate(drawn(space, limits, seed) if sample.names else ()))
        self._genotypes = genotypes | {place: network.genotype for place, network in sample.networks.items()}
        self._todo = deque(place for place in sorted(self._genotypes) if sample.lacking(place))
        self._in_flight: dict[int, Job] = {}

    @property
    def num_in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def num_left(self) -> int:
        """Networks whose scores are not known yet."""
        return len(self._todo) + len(self._in_flight)

    def holds_back(self, begun: int) -> bool:
        """Whether the next proposal must wait for the sample, where `begun` trainings have begun."""
        return begun >= RANDOM_TRAININGS and self.num_left > 0

    def next_job(self, begun: int) -> Job | None:
        """What a free worker is to compute now; None while `begun` trainings have their share of the sample."""
        size = len(self._genotypes)
        if not self._todo or size - len(self._todo) >= begun * math.ceil(size / RANDOM_TRAININGS):
            return None
        place = self._todo.popleft()
        spec = self._space.architecture(self._genotypes[place]).to_spec()
        job = Job(-1 - place, spec, self._seed, proxies=self._sample.lacking(place))
        self._in_flight[job.trial_number] = job
        return job

    def finish(self, event: NetworkScored) -> None:
        """Record what a worker computed.

        Raises:
            NasError: if the database fails.
        """
        self._record(self._in_flight.pop(event.trial_number), event.values, event.reasons)

    def fail(self, event: Failed) -> Job | None:
        """The job to submit again, where the machine is to blame; else None, and the failure is recorded.

        Raises:
            NasError: if the database fails.
        """
        job = self._in_flight.pop(event.trial_number)
        if not event.retryable or job.attempt == MAX_RETRIES:
            self._record(job, {}, dict.fromkeys(job.proxies, event.reason))
            return None
        again = replace(job, attempt=job.attempt + 1)
        self._in_flight[again.trial_number] = again
        return again

    def _record(self, job: Job, values: Mapping[str, float], reasons: Mapping[str, str]) -> None:
        place = -1 - job.trial_number
        before = self._sample.networks.get(place, SampledNetwork(self._genotypes[place], {}, {}))
        network = SampledNetwork(before.genotype, {**before.values, **values}, {**before.reasons, **reasons})
        self._study.keep(f"{KEY}{place}", asdict(network))
        self._sample.networks[place] = network

    def lines(self) -> list[str]:
        """What the sample knows, for people: one line for each score."""
        return [self._sample.text(name) for name in self._sample.names]
