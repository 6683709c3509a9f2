"""Every mixer of the benchmark against its printed form."""

import pytest
import torch

from benchmarks import mixers
from search_spaces.architecture.kinds.kind import Place
from search_spaces.architecture.kinds.registry import KINDS
from tests.models import randomise

SPECIAL = Place(0, 14, 80), Place(1, 14, 160), Place(3, 7, 240)
"""Stages whose knobs differ; maps are small, and keep the widths."""


def test_every_mixer_has_a_printed_form_or_is_one() -> None:
    assert {*mixers.BUILT, *mixers.PRINTED} | set(mixers.AS_PRINTED) == {*KINDS, *mixers.FORMS}
    assert not {*mixers.BUILT, *mixers.PRINTED} & set(mixers.AS_PRINTED)


@pytest.mark.parametrize("case", mixers.PRINTED)
@pytest.mark.parametrize("place", SPECIAL, ids=str)
def test_ours_computes_what_is_printed(case: str, place: Place) -> None:
    ours, plain = mixers.make_pair(case, place)
    assert plain is not None
    randomise(ours)
    plain.mixer.load_state_dict(ours.mixer.state_dict())
    x = torch.randn(2, place.map_size, place.map_size, place.width, dtype=torch.float64)
    results = []
    for module in (ours.double(), plain.double().eval()):
        given = x.clone().requires_grad_()
        out = module(given)
        out.square().sum().backward()
        results.append(
            (out.detach(), given.grad, torch.cat([parameter.grad.flatten() for parameter in module.parameters()]))
        )
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))
