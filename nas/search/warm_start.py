"""What an earlier study on the same space tells a new one: `--warm-start study:NAME`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.config import EARLIER_STUDY
from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, Store, traits_of
from nas.records import FrontMember, Genotype
from nas.search.study import Storage, recorded_genotypes
from nas.surrogates.scores import MIN_JUDGED, ModelledScore

MAX_STARTERS = MIN_JUDGED // 2
"""Members of the earlier front that are trained first; as many of the first trainings stay random, or nothing could
contradict the earlier study."""
MIN_KNOWN = 3
"""Finished trainings from which an earlier study is a score."""


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """Results of a study on the same space, whatever its data, recipe and objectives were."""

    front: tuple[Genotype, ...] = ()
    """Genotypes of members of its front, spread over it: what the new study begins with."""
    scores: tuple[ModelledScore, ...] = ()
    """What it says of every architecture; none where too few of its trainings finished."""


def earlier_study(warm_start: str, space: SearchSpace, store: Store, storage: Storage) -> EarlierStudy:
    """The study that --warm-start names; nothing if it names none.

    Raises:
        InvalidInputError: if there is no such study, it searched another space, or has no front yet.
        NasError: if the database fails.
    """
    if not warm_start.startswith(EARLIER_STUDY):
        return EarlierStudy()
    name = warm_start.removeprefix(EARLIER_STUDY)
    recorded = store.study(name)
    front = store.front(name)
    if recorded is None:
        known = ", ".join(sorted(study.name for study in store.studies())) or "none"
        raise InvalidInputError(
            f"--warm-start names the study {name!r}; expected one of this database, which has: {known}"
        )
    if recorded.space_hash != space.space_hash:
        raise InvalidInputError(
            f"--warm-start names the study {name!r}, which searched {recorded.space} at scale {recorded.scale} on "
            f"{recorded.data}; expected one of the same space, scale, mixers, image size, channels and classes as this "
            f"search ({space.name}, {space.scale})"
        )
    if front is None:
        raise InvalidInputError(
            f"--warm-start names the study {name!r}, which has no front yet: no trial of it has finished"
        )
    genotypes = recorded_genotypes(storage, name)
    finished = [(genotypes[trial.trial_number], trial.top1) for trial in store.facts(name) if trial.state == "COMPLETE"]
    results = tuple((genotype, top1) for genotype, top1 in finished if top1 is not None)
    score = ModelledScore(warm_start, "earlier", space.genes, results, traits_of(space))
    return EarlierStudy(
        tuple(genotypes[member.trial_number] for member in _spread(front.members)),
        (score,) if len(results) >= MIN_KNOWN else (),
    )


def _spread(members: Sequence[FrontMember]) -> Sequence[FrontMember]:
    """At most MAX_STARTERS, both ends among them."""
    if len(members) <= MAX_STARTERS:
        return members
    return [members[int(place)] for place in np.linspace(0, len(members) - 1, MAX_STARTERS)]
