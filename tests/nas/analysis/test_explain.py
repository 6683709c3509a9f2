"""What a study says about its genes, against closed forms and constructed histories."""

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import PairwiseKernel

from nas.analysis import explain as module
from nas.analysis.explain import Explanation, changes_of, explain, gene_quality
from nas.analysis.influence import gene_reports
from nas.analysis.lineage import lineages
from nas.errors import InvalidInputError, NasError
from nas.pareto.front import FrontKeeper
from nas.records import FrontMember, Gene, Genotype, TrialFacts
from nas.reports.explanations import explanation_json, explanation_text, html_explanation
from nas.surrogates.gaussian_process import JITTER
from nas.surrogates.gene_model import GeneModel
from nas.surrogates.genes import GeneLevels
from tests.doubles import TinySpace, tiny_top1
from tests.samples import study_record, trial

SPACE = TinySpace(levels=4)
GENES = SPACE.genes


@dataclass(frozen=True)
class Capped(TinySpace):
    """A width over 3 is repaired to 3."""

    def repair(self, genotype: Genotype) -> Genotype:
        return {**genotype, "width": min(int(genotype["width"]), 3)}


def columns(*functions: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: np.column_stack([function(rows) for function in functions])


def test_shares_of_an_additive_function_are_those_of_its_variances() -> None:
    found = gene_reports(SPACE, columns(lambda r: 3.0 * r[:, 0] + r[:, 1], lambda r: r[:, 2] ** 2.0))
    reports = {report.gene: report for report in found}
    assert list(reports) == ["depth", "width", "kernel"]
    for gene, share in (("depth", 0.9), ("width", 0.1), ("kernel", 0.0)):
        assert reports[gene].top1.alone == pytest.approx(share, abs=0.03)
        assert reports[gene].top1.total == pytest.approx(reports[gene].top1.alone)
    assert reports["kernel"].top1.total == 0.0
    assert reports["kernel"].cost.total == pytest.approx(1.0, abs=0.05)
    assert reports["depth"].top1.effects == pytest.approx((-4.5, -1.5, 1.5, 4.5))
    assert (reports["depth"].best_for_top1, reports["kernel"].cheapest) == (4, 1)


def test_two_spellings_of_one_architecture_are_judged_alike() -> None:
    genes = (
        Gene("conv", ("none", "mbconv"), False, ""),
        Gene("kernel", (3, 5, 7), True, "", only_if=(("conv", ("mbconv",)),)),
    )
    rows = np.array([[0, 2], [1, 0], [1, 1], [1, 2], [0, 1]])
    model = GeneModel(genes, None).fit(rows, np.array([0.2, 0.5, 0.6, 0.7, 0.2]))
    assert model.mean(np.array([[0, 0]])) == pytest.approx(model.mean(np.array([[0, 2]])))
    change, sd = model.differences(np.array([0, 0]), np.array([[0, 2], [1, 2]]))
    assert (change[0], sd[0]) == pytest.approx((0.0, 0.0), abs=1e-6) and change[1] > 0.3


def test_an_interaction_counts_in_the_total_only() -> None:
    xor = columns(lambda r: (r[:, 0] % 2) * 2.0 * (r[:, 1] % 2) - r[:, 0] % 2 - r[:, 1] % 2, lambda r: np.zeros(len(r)))
    reports = {report.gene: report for report in gene_reports(SPACE, xor)}
    for gene in ("depth", "width"):
        assert reports[gene].top1.alone < 0.02
        assert reports[gene].top1.total == pytest.approx(1.0, abs=0.05)
        assert reports[gene].cost.total == 0.0
    assert reports["kernel"].top1.total == 0.0


def test_repair_is_part_of_the_function() -> None:
    reports = {
        report.gene: report for report in gene_reports(Capped(), columns(lambda r: r[:, 1] * 1.0, lambda r: r[:, 0]))
    }
    assert reports["width"].top1.effects == pytest.approx((-1.25, -0.25, 0.75, 0.75))


def test_a_function_that_can_be_learned_is_predicted_and_a_constant_one_is_said_to_be() -> None:
    rows = np.random.default_rng(0).integers(0, 4, (40, 3))
    quality = gene_quality(SPACE, rows, rows @ [1.0, 0.5, -2.0], "top1")
    assert quality.r2 is not None and quality.r2 > 0.95
    assert quality.rank_correlation is not None and quality.rank_correlation > 0.95
    noise = gene_quality(SPACE, rows, np.random.default_rng(1).normal(size=40), "top1")
    assert noise.r2 is not None and noise.r2 < 0.3
    assert (gene_quality(SPACE, rows, np.full(40, 0.5), "top1").r2, quality.trials) == (None, 40)


def test_spread_of_a_difference_is_that_of_the_joint_posterior() -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 4, (25, 3))
    others = rng.integers(0, 4, (10, 3))
    target = rows @ [1.0, 0.5, -2.0] + rng.normal(scale=0.5, size=25)
    model = GeneModel(GENES, None).fit(rows, target)
    values = np.exp(model._process.theta)
    main, pairs, rates, (product, by_feature, _, noise) = np.split(values, [3, 6, 9])

    def kernel(a: np.ndarray, b: np.ndarray, **_: object) -> float:
        similar = 1 - np.abs(a - b) / 3
        return float(1 + main @ similar + (pairs @ similar) ** 2 + product * np.exp(rates @ (similar - 1)) + by_feature)

    peer = GaussianProcessRegressor(
        PairwiseKernel(metric=kernel), alpha=noise + JITTER, optimizer=None, normalize_y=True
    ).fit(rows, target)
    mean, covariance = peer.predict(np.vstack([rows[4], others]), return_cov=True)
    ours_mean, ours_sd = model.differences(rows[4], others)
    assert ours_mean == pytest.approx(mean[1:] - mean[0], abs=1e-6)
    expected = covariance[0, 0] + np.diag(covariance)[1:] - 2 * covariance[0, 1:]
    assert ours_sd == pytest.approx(np.sqrt(np.maximum(expected, 0)), rel=1e-5)


def test_lineage_goes_back_to_the_nearest_earlier_relative() -> None:
    genotypes = [(1, 1, 1), (1, 2, 1), (4, 4, 4), (1, 2, 2), (4, 4, 3)]
    rows = np.array(genotypes) - 1
    # Trial 7 ended before trial 5: the order of ending counts.
    complete = [
        trial(n, t, c) for n, t, c in ((0, 0.5, 2.0), (7, 0.6, 3.0), (2, 0.7, 8.0), (5, 0.65, 2.4), (9, 0.8, 4.0))
    ]
    members = [FrontMember(number, "", 0.0, 0.0) for number in (5, 9)]
    near, far = lineages(GENES, complete, rows, "latency_ms", members)
    assert [(step.trial_number, step.parent) for step in near] == [(5, 7), (7, 0), (0, None)]
    assert near[0].changed == (("kernel", 1, 2),)
    assert near[0].top1_change == pytest.approx(0.05) and near[0].cost_percent == pytest.approx(-20.0)
    # Of two relatives that are equally far, the latest.
    assert [(step.trial_number, step.parent) for step in far] == [(9, 2), (2, 7), (7, 0), (0, None)]
    assert lineages(GENES, complete, rows, "latency_ms", []) == ()


def facts_of(genotypes: list[Genotype]) -> list[TrialFacts]:
    facts = []
    for number, genotype in enumerate(genotypes):
        architecture = SPACE.architecture(genotype)
        base = trial(number, tiny_top1(architecture.to_spec()), 1.0)
        facts.append(
            replace(
                base, arch_hash=architecture.arch_hash, spec=architecture.to_spec(), costs=SPACE.costs(architecture)
            )
        )
    return facts


@pytest.fixture(scope="module")
def study() -> tuple[list[TrialFacts], dict[int, Genotype], Explanation]:
    """Thirty trials of the tiny space, the last two of which did not finish."""
    every = [
        {"depth": d, "width": w, "kernel": k}
        for d in range(1, 5)
        for w in range(1, 5)
        for k in range(1, 5)
        if d > 1 or k == 1
    ]
    order = np.random.default_rng(0).permutation(len(every))[:30]
    genotypes = dict(enumerate(every[place] for place in order))
    facts = facts_of(list(genotypes.values()))
    facts[28] = replace(facts[28], state="FAIL", reason="loss is nan", rungs=())
    facts[29] = replace(facts[29], state="PRUNED")
    study = replace(study_record("macs"), space_hash=SPACE.space_hash)
    keeper = FrontKeeper("macs", (0.1, 1e9))
    front = [snapshot for trial in facts if (snapshot := keeper.add(trial))][-1]
    return facts, genotypes, explain(SPACE, study, facts, front, genotypes, 3)


def test_a_study_is_explained(study: tuple[list[TrialFacts], dict[int, Genotype], Explanation]) -> None:
    _, genotypes, explanation = study
    assert (explanation.trials, dict(explanation.left_out)) == (28, {"FAIL": 1, "PRUNED": 1})
    assert explanation.warnings == ()
    assert [report.gene for report in explanation.genes][-1] == "kernel"
    assert explanation.lineages
    effects = next(report for report in explanation.genes if report.gene == "depth").cost.effects
    assert [quality.target for quality in explanation.quality] == ["top1"], "macs are counted"
    every = [
        SPACE.genotype_costs({"depth": d, "width": w, "kernel": k}).macs
        for d, w, k in itertools.product(range(1, 5), repeat=3)
    ]
    by_depth = np.log(every).reshape(4, 16).mean(axis=1)
    assert effects == pytest.approx(by_depth - by_depth.mean(), abs=0.01)
    assert len(explanation.changes) == 9
    for change in explanation.changes:
        before, after = (
            SPACE.costs(SPACE.architecture(g)).macs for g in (genotypes[3], {**genotypes[3], change.gene: change.after})
        )
        assert change.no_effect or change.cost_percent == pytest.approx(100 * (after / before - 1))
        assert change.no_effect or change.top1_sd > 0


def test_changes_without_effect_say_why(study: tuple[list[TrialFacts], dict[int, Genotype], Explanation]) -> None:
    _, genotypes, _ = study
    rows = GeneLevels(SPACE.genes).rows(list(genotypes.values()))
    target = np.arange(30.0)
    shallow = next(genotype for genotype in genotypes.values() if genotype["depth"] == 1 and genotype["width"] == 3)
    model = GeneModel(GENES, None).fit(rows, target)
    changes = {(change.gene, change.after): change for change in changes_of(Capped(), shallow, model, model.mean)}
    assert {changes["kernel", value].no_effect for value in (2, 3, 4)} == {"switched off by another gene"}
    assert changes["width", 4].no_effect == "repaired away"
    assert changes["depth", 2].no_effect is None


def test_expected_changes_go_where_the_truth_goes(
    study: tuple[list[TrialFacts], dict[int, Genotype], Explanation],
) -> None:
    _, genotypes, explanation = study
    here = tiny_top1(SPACE.architecture(genotypes[3]).to_spec())
    effective = [change for change in explanation.changes if change.no_effect is None]
    there = [SPACE.architecture({**genotypes[3], change.gene: change.after}).to_spec() for change in effective]
    truth = np.array([tiny_top1(spec) - here for spec in there])
    expected = np.array([change.top1 for change in effective])
    assert np.corrcoef(expected, truth)[0, 1] > 0.95
    assert expected.tolist() == sorted(expected, reverse=True)
    assert np.abs(expected - truth).max() < 0.06


@pytest.mark.parametrize(
    ("changed", "trial_number", "message"),
    [
        (
            {"space_hash": "f" * 64},
            None,
            r"searched tiny ffffffffffff, and this version .* has tiny-4.*with version 0.1.0",
        ),
        ({}, 77, r"--trial is 77, and study 'sample' has no such trial; its trials are 0 to 29"),
        ({}, 28, r"--trial is 28, and that trial is FAIL; expected one that finished"),
        ({}, 29, r"--trial is 29, and that trial is PRUNED"),
    ],
)
def test_what_cannot_be_explained_is_refused(study, changed: dict, trial_number: int | None, message: str) -> None:
    facts, genotypes, _ = study
    search = replace(study_record("macs"), **{"space_hash": SPACE.space_hash, **changed})
    with pytest.raises(InvalidInputError, match=message):
        explain(SPACE, search, facts, None, genotypes, trial_number)


def test_few_trials_are_refused_or_warned_of(study) -> None:
    facts, genotypes, _ = study
    search = replace(study_record("macs"), space_hash=SPACE.space_hash)
    with pytest.raises(NasError, match=r"has 9 finished trials; an explanation needs 10: search on"):
        explain(SPACE, search, facts[:9], None, genotypes)
    explanation = explain(SPACE, search, facts[:12], None, genotypes)
    assert "only 12 finished trials: every number below is a guess" in explanation.warnings
    assert "no front yet" in explanation_text(explanation)


def test_noise_is_warned_of(study) -> None:
    facts, genotypes, _ = study
    rng = np.random.default_rng(1)
    noisy = [replace(f, rungs=(replace(f.rungs[0], top1=float(rng.random())),)) if f.rungs else f for f in facts]
    explanation = explain(SPACE, replace(study_record("macs"), space_hash=SPACE.space_hash), noisy, None, genotypes)
    assert any(re.match(r"top1 is predicted poorly \(held-out R2 -?\d", warning) for warning in explanation.warnings)


def test_a_large_study_is_sampled_with_the_trial_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRIALS", 5)
    assert module._chosen(5, 2).tolist() == [0, 1, 2, 3, 4]
    for origin in range(20):
        assert origin in module._chosen(20, origin)
        assert 5 <= len(module._chosen(20, origin)) <= 6


def test_a_gene_with_one_value_has_no_influence() -> None:
    @dataclass(frozen=True)
    class Fixed(TinySpace):
        @property
        def genes(self) -> tuple[Gene, ...]:
            return (*TinySpace.genes.fget(self)[:2], Gene("kernel", (1,), True, "kernel"))

    rows = np.random.default_rng(0).integers(0, [4, 4, 1], (20, 3))
    model = GeneModel(Fixed().genes, None).fit(rows, rows[:, 0] * 1.0)
    report = next(
        r for r in gene_reports(Fixed(), lambda r: np.column_stack([model.mean(r)] * 2)) if r.gene == "kernel"
    )
    assert (report.top1.total, report.top1.effects) == (0.0, pytest.approx((0.0,)))


def test_text_says_all_of_it(study) -> None:
    _, _, explanation = study
    text = explanation_text(explanation)
    assert "rests on 28 finished trials; left out: 1 FAIL, 1 PRUNED" in text
    assert re.search(r"held out, 28 trials: top1 predicted with R2 0\.9\d, rank correlation (0\.9|1\.0)", text)
    assert "macs of every network is counted, so exact" in text
    assert re.search(r"^depth +\d+%, \d+% .*\(rises\)", text, re.MULTILINE)
    assert "one gene of trial 3 changed" in text and " ± " in text
    assert "as above" in text or len(explanation.lineages) == 1


def test_json_is_in_base_units(study) -> None:
    _, _, explanation = study
    data = json.loads(explanation_json(explanation))
    depth = next(gene for gene in data["genes"] if gene["gene"] == "depth")
    assert depth["values"] == [1, 2, 3, 4] and depth["best_for_top1"] == 4 and depth["cheapest"] == 1
    assert depth["cost"]["effects"][3] - depth["cost"]["effects"][0] == pytest.approx(math.log(4), abs=0.15)
    assert data["quality"][0]["trials"] == 28 and data["changes"][0]["top1"] == explanation.changes[0].top1


def test_page_is_one_file_without_network(study, tmp_path: Path) -> None:
    _, _, explanation = study
    html_explanation(tmp_path / "explain.html", replace(explanation, study="</script><b>"))
    page = (tmp_path / "explain.html").read_text()
    assert "default-src 'none'" in page and not re.search(r"(src|href)=", page)
    assert page.count("</script>") == 2 and "<b>" not in page and not re.search("__[A-Z]+__", page)
    assert "One gene of trial 3 changed" in page
    with pytest.raises(InvalidInputError, match=r"expected a file name that ends in \.html"):
        html_explanation(tmp_path / "explain.txt", explanation)


def test_any_finished_trial_has_a_lineage(study: tuple[list[TrialFacts], dict[int, Genotype], Explanation]) -> None:
    *_, explanation = study
    assert explanation.lineage[0].trial_number == 3
    assert explanation.lineage[-1].parent is None
    on_front = replace(explanation, lineages=(*explanation.lineages, explanation.lineage))
    beside = replace(explanation, lineages=explanation.lineages[:1], lineage=explanation.lineages[-1])
    number = beside.lineage[0].trial_number
    assert f"trial {number}:" in explanation_text(beside)
    assert "\nmember 3:" in explanation_text(on_front) and "\ntrial 3:" not in explanation_text(on_front)
