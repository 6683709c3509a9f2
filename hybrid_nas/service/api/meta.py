"""The service itself: health, the caller, spaces and targets."""

from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Query

from hybrid_nas import parts
from hybrid_nas.service.auth import CurrentCaller, CurrentService
from hybrid_nas.service.options import check_data
from hybrid_nas.service.recorded import option_of
from nas.errors import InvalidInputError, first_line
from nas.records import JSON
from nas.version import code_version
from search_spaces.registry import installed_spaces, space_names

router = APIRouter(tags=["service"])


@router.get("/health")
def health(service: CurrentService) -> JSON:
    """Whether the service works; needs no token."""
    return {**service.health(), "version": code_version()}


@router.get("/me")
def me(caller: CurrentCaller) -> JSON:
    """Who the token belongs to."""
    return {"name": caller.name, "role": caller.role}


@router.get("/spaces")
def spaces(
    service: CurrentService,
    caller: CurrentCaller,
    scale: Annotated[str, Query(max_length=100)] = "nano",
    data: Annotated[str, Query(max_length=4_096)] = "digits",
) -> JSON:
    """Every search space with its genes; `problem` says why one of another package cannot be used."""
    check_data(data, service.settings)
    ours = [_space(name, scale, data) for name in space_names()]
    return {"items": ours + [_other(name, scale, data) for name in sorted(installed_spaces())]}


@lru_cache(maxsize=64)
def _space(name: str, scale: str, data: str) -> JSON:
    [space] = parts.spaces(name, scale, data, None, lambda line: None)
    genes = [
        {"name": gene.name, "values": list(gene.values), "ordered": gene.ordered, "meaning": gene.meaning}
        for gene in space.genes
    ]
    return {"name": name, "genes": genes, "problem": None}


def _other(name: str, scale: str, data: str) -> JSON:
    """A space of another package; one that cannot be made hides no other."""
    try:
        return _space(name, scale, data)
    except InvalidInputError as error:
        return {"name": name, "genes": [], "problem": first_line(error)}


@router.get("/targets")
def targets(service: CurrentService, caller: CurrentCaller) -> JSON:
    """What the studies were timed on, also in the words by which `front` and `history` take it."""
    found: list[JSON] = []
    for study, known in service.browser.targets().items():
        found += [{"study": study, "target": target, "latency_target": option_of(target)} for target in known]
    return {"items": found}
