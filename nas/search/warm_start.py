"""What an earlier study on the same space tells a new one: `--warm-start study:NAME`."""

from dataclasses import dataclass

from nas.config import EARLIER_STUDY, SearchConfig
from nas.errors import InvalidInputError
from nas.protocols import SearchSpace, Store
from nas.records import Genotype
from nas.search.study import Storage, recorded_genotypes


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """Results of a study on the same space, whatever its data, recipe and objectives were."""

    front: tuple[Genotype, ...] = ()
    """Genotypes of the members of its front: what the new study begins with."""
    scores: tuple[tuple[Genotype, float], ...] = ()
    """(genotype, top1) of its finished trainings."""


def earlier_study(config: SearchConfig, space: SearchSpace, store: Store, storage: Storage) -> EarlierStudy:
    """The study that --warm-start names; nothing if it names none.

    Raises:
        InvalidInputError: if there is no such study, it searched another space, or has no front yet.
        NasError: if the database fails.
    """
    if not config.warm_start.startswith(EARLIER_STUDY):
        return EarlierStudy()
    name = config.warm_start.removeprefix(EARLIER_STUDY)
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
    return EarlierStudy(
        tuple(genotypes[member.trial_number] for member in front.members),
        tuple((genotype, top1) for genotype, top1 in finished if top1 is not None),
    )
