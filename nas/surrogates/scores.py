"""Cheap scores of architectures in a surrogate of top1: always as genes, and as prior mean while they prove true."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from scipy import special

from nas.protocols import Traits
from nas.records import Gene, Genotype
from nas.surrogates.gaussian_process import GaussianProcess, GeneEncoder, power_of_two
from nas.surrogates.gene_model import ITERATIONS, GeneModel
from nas.surrogates.genes import GeneLevels
from nas.surrogates.threads import one_thread

LEVELS = 16
"""Quantiles of a score that are told apart."""
MIN_JUDGED = 10
"""Finished trainings below which no score is used; and architectures of which a score must be known to be learned."""
INTERVAL = 0.9
EVIDENCE = math.log(20)
"""How much larger than without any score the ln density of the finished trainings must be for a score to be used."""
NOTHING = 1e-6
"""Share of the spread of top1 below which a score leaves nothing to predict."""
MAX_LEARNED = 400
"""Known values that a model of a score learns from: its time grows with the cube."""

Fidelity = Literal["none", "library", "earlier"]
"""What a score comes from: no training, a library of trained parts, or an earlier or shorter training. Never a full
training of the study itself."""


class ArchitectureScore(Protocol):
    """A number that may rank architectures as training does. It guides proposals and is never a result."""

    @property
    def label(self) -> str:
        """What people call it."""
        ...

    @property
    def fidelity(self) -> Fidelity: ...

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        """Canonical rows of levels (num_rows, num_genes) int -> (num_rows,) float64, the same at each call, in
        microseconds a row; NaN where nothing is known."""
        ...


@dataclass(frozen=True)
class ModelledScore:
    """A score that is known of some architectures; a Gaussian process of genes and their pairs answers for all."""

    label: str
    fidelity: Fidelity
    genes: tuple[Gene, ...]
    known: tuple[tuple[Genotype, float], ...]
    """At least two valid genotypes and their finite values."""
    traits: Traits | None = None
    """What the process sees in place of the genes."""

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        return self._model.mean(rows_ND)

    @cached_property
    def _model(self) -> GeneModel:
        drawn = np.random.default_rng(0).permutation(len(self.known))[:MAX_LEARNED]
        rows = GeneLevels(self.genes).rows([self.known[i][0] for i in drawn])
        values = np.array([self.known[i][1] for i in drawn])
        with one_thread():
            return GeneModel(self.genes, self.traits, pairs_only=True).fit(rows, values)


@dataclass(frozen=True, slots=True)
class Worth:
    """How well a score agrees with top1 over the finished trainings."""

    r: float
    """Pearson's correlation, in [-1, 1]."""
    low: float
    high: float
    """The interval of r at INTERVAL."""
    num: int
    """Trainings whose score is known."""


def worth_of(score_N: np.ndarray, top1_N: np.ndarray) -> Worth | None:
    """Judge a score.

    Args:
        score_N: (num_trainings,), NaN where it is not known.
        top1_N: (num_trainings,) finite.

    Returns:
        None with fewer than MIN_JUDGED known scores, or where score or top1 is constant.

    Source: Fisher, "On the 'Probable Error' of a Coefficient of Correlation Deduced from a Small Sample", Metron 1,
    1921.
    """
    known = np.isfinite(score_N)
    num = int(known.sum())
    if num < MIN_JUDGED or np.ptp(score_N[known]) == 0 or np.ptp(top1_N[known]) == 0:
        return None
    scaled = score_N[known] / power_of_two(score_N[known])
    r = float(np.corrcoef(scaled, top1_N[known])[0, 1])
    centre = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
    half = special.ndtri((1 + INTERVAL) / 2) / np.sqrt(num - 3)
    return Worth(r, float(np.tanh(centre - half)), float(np.tanh(centre + half)), num)


class _Parts:
    """A score in two parts: what the genes explain of it, and the rest.

    The rest is what many genes do together, or noise. Only the trainings can tell which.
    """

    def __init__(self, score: ArchitectureScore, encoder: GeneEncoder, rows_ND: np.ndarray) -> None:
        """Learn the first part from typical rows, (num_rows, num_genes) int."""
        self._score = score
        self._process = GaussianProcess(encoder, pairs_only=True)
        rows = np.unique(rows_ND, axis=0)
        rows = rows[np.random.default_rng(0).permutation(len(rows))[:MAX_LEARNED]]
        values = score(rows)
        known = np.isfinite(values)
        self._is_known = int(known.sum()) >= MIN_JUDGED
        self.unit = power_of_two(values[known])
        """What both parts are divided by, so that a score of any size can be squared."""
        if self._is_known:
            self._process.fit(rows[known], np.zeros(int(known.sum())), values[known] / self.unit, ITERATIONS)

    def __call__(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, 2): what the genes explain, and the score itself; both are the first where it is not known."""
        if not self._is_known:
            return np.zeros((len(rows_ND), 2))
        explained = self._process.mean(rows_ND, np.zeros(len(rows_ND)))
        values = self._score(rows_ND) / self.unit
        return np.column_stack([explained, np.where(np.isfinite(values), values, explained)])


@dataclass
class _Form:
    """One use of the scores in a model of top1: as genes or not, and one of them as prior mean or none."""

    process: GaussianProcess
    num_columns: int
    """Genes that the process sees, of those of the space and then those of the scores."""
    place: int | None
    """The score that is the prior mean, by its place; None for none."""
    offset: float = 0.0
    slopes: np.ndarray = field(default_factory=lambda: np.zeros(2))
    """The first is of what the genes explain, the second of the score itself."""

    def set_prior_mean(self, parts_NS2: np.ndarray, target_N: np.ndarray) -> None:
        """Fit the slopes."""
        if self.place is not None:
            self.offset, self.slopes = _slopes(parts_NS2[:, self.place], target_N)

    def prior_mean(self, parts_NS2: np.ndarray) -> np.ndarray | float:
        """(num_rows,) for the parts of the scores of the rows, (num_rows, num_scores, 2)."""
        if self.place is None:
            return 0.0
        mean: np.ndarray = self.offset + parts_NS2[:, self.place] @ self.slopes
        return mean


class Guarded:
    """A Gaussian process that uses scores in the form that proves best.

    There are three forms: no use of the scores; each score as one more ordered gene; and that with one of the scores as
    prior mean too. Then the score is said to be trusted, and top1 is the process's plus a linear function of two parts
    of the score: what the genes explain of it, and the rest. Each part has a slope of its own, because a rest that is
    noise misleads a search most: it proposes what the noise favours. Offset and slopes are a least-squares fit to what
    has no error of its own, in which each part counts as one more result, one that says that the slope is 1, with the
    score standardised to the spread of top1.

    Each form has a process with hyperparameters of its own. The best form is the one in which the finished trainings
    are most probable, each predicted from all others; a form that uses scores must be twenty times as probable as the
    one that does not. A correlation would not do: it stays high while a score that tells good networks from bad ones
    misleads among the good ones.

    Sources: stacked residuals, Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section
    3.3; choice of a model by left-out densities, Sundararajan & Keerthi, "Predictive Approaches for Choosing
    Hyperparameters in Gaussian Processes", Neural Computation 13, 2001; twenty times as probable is strong evidence,
    Kass & Raftery, "Bayes Factors", Journal of the American Statistical Association 90, 1995.
    """

    def __init__(self, num_levels: Sequence[int], ordered: Sequence[bool], scores: Sequence[ArchitectureScore]) -> None:
        """Begin with no knowledge.

        Args:
            num_levels: of each gene, at least 1.
            ordered: per gene, whether neighbouring levels are similar.
            scores: at least one.
        """
        added = len(scores)
        num_genes = len(num_levels)
        encoder = GeneEncoder.of([*num_levels, *[LEVELS] * added], [*ordered, *[True] * added])
        self._scores = tuple(scores)
        self._genes = GeneEncoder.of(num_levels, ordered)
        self._unused = _Form(GaussianProcess(self._genes), num_genes, None)
        self._forms = [
            self._unused,
            _Form(GaussianProcess(encoder), num_genes + added, None),
            *(_Form(GaussianProcess(encoder), num_genes + added, place) for place in range(added)),
        ]
        self._form = self._unused
        self._parts: list[_Parts] = []
        self._edges: list[np.ndarray] = []

    @property
    def trusted(self) -> int | None:
        """Place of the score that is the prior mean; None while no score is."""
        return self._form.place

    @property
    def needs_levels(self) -> bool:
        """Whether `set_levels` is to be called before the first fit."""
        return not self._edges

    def set_levels(self, rows_ND: np.ndarray) -> None:
        """Take the quantiles of the scores over these typical rows as their levels, and learn their parts."""
        self._parts = [_Parts(score, self._genes, rows_ND) for score in self._scores]
        pairs = zip(self._scores, self._parts, strict=True)
        self._edges = [_edges(score(rows_ND) / parts.unit) for score, parts in pairs]

    def fit(
        self,
        levels_ND: np.ndarray,
        feature_N: np.ndarray,
        target_N: np.ndarray,
        max_iterations: int,
        sd_N: np.ndarray | float = 0.0,
    ) -> None:
        """As that of the process; a fit of hyperparameters also decides anew on the form."""
        parts = self._parts_of(levels_ND)
        rows = self._with_levels(levels_ND, parts)
        # A failure that counts as the worst result says nothing of a score.
        exact = np.broadcast_to(sd_N, target_N.shape) == 0

        def learn(form: _Form) -> np.ndarray:
            """Fit the form; what its prior mean leaves of the target."""
            rest: np.ndarray = target_N - form.prior_mean(parts)
            form.process.fit(rows[:, : form.num_columns], feature_N, rest, max_iterations, sd_N)
            return rest

        def evidence(form: _Form) -> float:
            """Ln density of the finished trainings, less what scores must be ahead by."""
            rest = learn(form)
            if rest[exact].std() <= NOTHING * target_N[exact].std():
                return math.inf
            density = float(form.process.left_out_ln_density()[exact].sum())
            return density if form is self._unused else density - EVIDENCE

        if not max_iterations:
            learn(self._form)
            return
        forms = self._allowed_forms(levels_ND[exact], target_N[exact])
        for form in forms:
            form.set_prior_mean(parts[exact], target_N[exact])
        self._form = max(forms, key=evidence)

    def _allowed_forms(self, levels_ND: np.ndarray, top1_N: np.ndarray) -> list[_Form]:
        """Those of which the finished trainings can tell."""
        if len(top1_N) < MIN_JUDGED:
            return [self._unused]
        told = [worth_of(score(levels_ND), top1_N) is not None for score in self._scores]
        return [form for form in self._forms if form.place is None or told[form.place]]

    def predict(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As that of the process."""
        rows, prior_mean = self._inputs(levels_ND)
        mean, sd = self._form.process.predict(rows, feature_N)
        return mean + prior_mean, sd

    def mean(self, levels_ND: np.ndarray, feature_N: np.ndarray) -> np.ndarray:
        """As that of the process."""
        rows, prior_mean = self._inputs(levels_ND)
        mean: np.ndarray = self._form.process.mean(rows, feature_N) + prior_mean
        return mean

    def _inputs(self, levels_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray | float]:
        """What the process of the form sees, (num_rows, num_columns) int, and what the form adds to its mean."""
        parts = self._parts_of(levels_ND)
        return self._with_levels(levels_ND, parts)[:, : self._form.num_columns], self._form.prior_mean(parts)

    def _with_levels(self, rows_ND: np.ndarray, parts_NS2: np.ndarray) -> np.ndarray:
        """(num_rows, num_genes + num_scores) int."""
        scores = parts_NS2[:, :, 1].T
        levels = [np.searchsorted(edges, score, "right") for edges, score in zip(self._edges, scores, strict=True)]
        return np.column_stack([rows_ND, *levels])

    def _parts_of(self, rows_ND: np.ndarray) -> np.ndarray:
        """(num_rows, num_scores, 2)."""
        return np.stack([parts(rows_ND) for parts in self._parts], axis=1)


def _edges(values_N: np.ndarray) -> np.ndarray:
    """(LEVELS - 1,) rising: a value's level is how many of them are not above it."""
    known = values_N[np.isfinite(values_N)]
    return np.quantile(known, np.arange(1, LEVELS) / LEVELS) if len(known) else np.zeros(LEVELS - 1)


def _slopes(parts_N2: np.ndarray, top1_N: np.ndarray) -> tuple[float, np.ndarray]:
    """Offset, and slopes of top1 over what the genes explain of a score and over the score itself."""
    explained, score = parts_N2.T
    parts = np.column_stack([explained, score - explained])
    centre = parts.mean(axis=0)
    centred = parts - centre
    spread = float(score.std()) or 1.0
    # In the score's unit, the slope that it claims is the ratio of the spreads.
    claimed = float(top1_N.std()) / spread
    one_result = spread**2
    answers = centred.T @ (top1_N - top1_N.mean()) + one_result * claimed
    slopes = np.linalg.solve(centred.T @ centred + one_result * np.eye(2), answers)
    return float(top1_N.mean() - centre @ slopes), np.array([slopes[0] - slopes[1], slopes[1]])
