"""Latency predicted from timings: on times that are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from nas.records import Genotype
from nas.surrogates.latency_model import LatencyModel, held_out_text, latency_quality, latency_report, timed_genotypes
from tests.doubles import TinySpace
from tests.samples import TRIALS

SPACE = TinySpace(levels=8)


def genotypes(count: int, seed: int = 0) -> list[Genotype]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def additive_ms(genotype: Genotype) -> float:
    """0.3 ms for each layer and 2 ms for a million of its multiply-adds; 0.1 ms for the kernel, whatever it is."""
    return 0.1 + genotype["depth"] * (0.3 + 2e-6 * 100 * genotype["width"])


def latencies(timed: list[Genotype], interaction: float = 0.0, noise: float = 0.0) -> np.ndarray:
    """An interaction that no table of parts has: wide networks with large kernels are slower."""
    rng = np.random.default_rng(1)
    slow = np.array([genotype["width"] > 4 and genotype["kernel"] > 4 and genotype["depth"] > 1 for genotype in timed])
    return (
        np.array([additive_ms(genotype) for genotype in timed])
        * (1 + interaction * slow)
        * np.exp(noise * rng.standard_normal(len(timed)))
    )


def test_a_table_of_parts_is_found_from_the_times_of_networks() -> None:
    timed = genotypes(60)
    model = LatencyModel(SPACE).fit(timed, latencies(timed))
    rows = {row.kind: row for row in model.table}
    assert rows["layer"].each_ms == pytest.approx(0.3, rel=1e-3) and rows["layer"].per_million_macs_ms == pytest.approx(
        2.0, rel=0.02
    )
    assert rows["kernel"].each_ms == pytest.approx(0.1, rel=1e-2)
    assert [row.kind for row in model.table] == ["layer", "kernel"] and sum(
        row.share for row in model.table
    ) == pytest.approx(1)
    assert rows["layer"].num_parts == sum(genotype["depth"] for genotype in timed)
    fresh = genotypes(50, seed=5)
    assert model.predict(fresh) == pytest.approx(latencies(fresh), rel=1e-2)


def test_no_part_takes_negative_time() -> None:
    timed = genotypes(40)
    falling = np.array([10.0 / genotype["width"] for genotype in timed])
    assert all(
        row.each_ms >= 0 and row.per_million_macs_ms >= 0 for row in LatencyModel(SPACE).fit(timed, falling).table
    )


def test_the_correction_learns_what_the_table_cannot_say() -> None:
    timed = genotypes(200)
    fresh = genotypes(100, seed=5)
    measured = latencies(timed, interaction=0.5)
    model = LatencyModel(SPACE).fit(timed, measured)
    table_only = LatencyModel(SPACE).fit(timed, measured)
    table_only._correction = LatencyModel(SPACE).fit(timed, latencies(timed))._correction
    errors = [
        np.abs(np.log(chosen.predict(fresh) / latencies(fresh, interaction=0.5))).mean()
        for chosen in (model, table_only)
    ]
    assert errors[0] < 0.7 * errors[1]


def test_held_out_quality_is_that_of_unseen_networks() -> None:
    timed = genotypes(80)
    exact, noisy = (latency_quality(SPACE, timed, latencies(timed, noise=noise)) for noise in (0.0, 0.3))
    assert exact.timings == 80 and exact.near == 1.0 and exact.order is not None and exact.order.tau > 0.97
    assert 1 <= exact.overestimate < 1.02
    assert noisy.near < 0.5 and noisy.overestimate > 1.2
    assert noisy.order is not None and noisy.order.low < noisy.order.tau < exact.order.tau
    shuffled = np.random.default_rng(0).permutation(latencies(timed))
    random = latency_quality(SPACE, timed, shuffled)
    assert random.near < 0.4 and random.order is not None and abs(random.order.tau) < 0.3


def test_the_quality_is_said_in_a_line() -> None:
    timed = genotypes(40)
    assert held_out_text(latency_quality(SPACE, timed, latencies(timed))).startswith(
        "held out, 40 timings: 100% within 10%, Kendall's tau 1.00 ("
    )
    assert held_out_text(latency_quality(SPACE, timed, np.ones(40))).endswith("Kendall's tau undefined")


def test_an_overestimate_is_as_rare_as_it_says() -> None:
    """Of fresh networks about one in twenty is overestimated by more."""
    timed = genotypes(150)
    fresh = genotypes(1000, seed=5)
    measured = latencies(timed, noise=0.1)
    quality = latency_quality(SPACE, timed, measured)
    predicted = LatencyModel(SPACE).fit(timed, measured).predict(fresh)
    assert 0.01 < np.mean(predicted > quality.overestimate * latencies(fresh, noise=0.1)) < 0.1


def test_every_trial_that_was_timed_is_learned_from() -> None:
    rejected = replace(TRIALS[6], latency=None)
    chosen, latency_ms = timed_genotypes(
        [*TRIALS[:6], rejected, TRIALS[7]], {trial.trial_number: {"n": trial.trial_number} for trial in TRIALS}
    )
    assert [genotype["n"] for genotype in chosen] == [0, 1, 2, 3, 4, 5, 7]
    assert list(latency_ms) == [1.0, 2.0, 4.0, 8.0, 1.5, 9.0, 9.5]
    assert latency_report(SPACE, TRIALS, {}) is None, "nothing is said of a handful"
