"""What the sample of a study says of every network."""

import math
from itertools import product

import numpy as np
import pytest

from nas.records import Gene, Genotype
from nas.surrogates.genes import GeneLevels
from nas.surrogates.proxies import NAMES
from nas.surrogates.training_free import Sample, SampledNetwork, az_nas_scores

GENES = tuple(Gene(name, (1, 2, 3, 4), ordered=True, meaning=name) for name in ("depth", "width", "kernel"))
EVERY = [dict(zip(("depth", "width", "kernel"), values, strict=True)) for values in product((1, 2, 3, 4), repeat=3)]


def zico(genotype: Genotype) -> float:
    return 100.0 + 7 * int(genotype["depth"]) * int(genotype["width"])


def sample(count: int, *names: str) -> Sample:
    places = np.random.default_rng(0).permutation(len(EVERY))[:count]
    networks = {place: SampledNetwork(EVERY[i], {"zico": zico(EVERY[i])}, {}) for place, i in enumerate(places)}
    return Sample(GENES, names or ("zico",), lambda genotype: float(genotype["width"]), networks)


def test_a_model_of_the_sample_answers_for_every_network_and_says_how_well() -> None:
    (score,) = sample(30).scores
    predicted = score(GeneLevels(GENES).rows(EVERY))
    assert np.corrcoef(predicted, [zico(genotype) for genotype in EVERY])[0, 1] > 0.98
    quality = score.quality()
    assert quality is not None and quality.trials == 30
    assert quality.r2 is not None and quality.r2 > 0.9
    assert (score.label, score.fidelity) == ("zico", "none")


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_networks_say_nothing(count: int) -> None:
    (score,) = sample(count).scores
    assert np.isnan(score(GeneLevels(GENES).rows(EVERY))).all()
    assert score.quality() is None


def test_a_score_that_is_the_same_everywhere_says_nothing() -> None:
    networks = {place: SampledNetwork(genotype, {"zico": 3.0}, {}) for place, genotype in enumerate(EVERY)}
    (score,) = Sample(GENES, ("zico",), networks=networks).scores
    assert np.isnan(score(GeneLevels(GENES).rows(EVERY))).all()


def test_az_nas_is_made_of_ranks_by_three_proxies_and_macs() -> None:
    scores = az_nas_scores([[1.0, 2.0], [5.0, 4.0], [0.0, 1.0], [10.0, 30.0]])
    assert scores == pytest.approx([3 * math.log(1 / 2), math.log(1 / 2)])
    found = sample(2, "az_nas")
    assert found.proxies == ("expressivity", "progressivity", "trainability")
    assert found.known("az_nas") == ()
    for place, (first, second, third) in enumerate([(1.0, 5.0, 0.0), (2.0, 4.0, 1.0)]):
        values = {"expressivity": first, "progressivity": second, "trainability": third}
        found.networks[place] = SampledNetwork({"depth": 1, "width": place + 1, "kernel": 1}, values, {})
    assert [value for _, value in found.known("az_nas")] == pytest.approx(scores.tolist())


def test_what_failed_is_left_out_and_said_and_not_tried_again() -> None:
    found = sample(6, "zico", "synflow")
    assert found.proxies == ("synflow", "zico")
    assert found.lacking(2) == ("synflow",) and found.lacking(7) == ("synflow", "zico")
    genotype = found.networks[2].genotype
    found.networks[2] = SampledNetwork(genotype, {"zico": 1.0}, {"synflow": "synflow is inf"})
    assert found.lacking(2) == ()
    assert found.known("synflow") == ()
    assert found.text("synflow") == "synflow: known of 0 of 6 sampled networks; the first without: synflow is inf"
    assert found.text("zico") == "zico: known of 6 of 6 sampled networks"


def test_every_name_has_what_workers_compute_for_it() -> None:
    assert all(Sample(GENES, (name,)).proxies for name in NAMES)
