"""Candidates that are so surely over the latency limit that they are not even timed.

Only where a search has such a limit, and only once predictions of this study's own timings have proved good
(nas/surrogates/latency_model.py).
"""

from collections.abc import Mapping

from nas.protocols import SearchSpace
from nas.records import Genotype, TrialFacts
from nas.surrogates.latency_model import LatencyModel, held_out_text, latency_quality, timed_genotypes
from nas.surrogates.threads import one_thread
from nas.text import cost_text

MIN_TIMINGS = 40
"""Below this nothing is predicted."""
MIN_NEAR = 0.6
"""Share of the held-out predictions that must be near the measured latency before any candidate is passed over."""
GROWTH = 1.25
"""The predictor learns anew whenever the timings have grown by this factor."""


class Screen:
    """Judges candidates of one study by its latency limit. Deterministic given the study's trials."""

    def __init__(
        self, space: SearchSpace, limit_ms: float, known: Mapping[str, TrialFacts], genotypes: Mapping[int, Genotype]
    ) -> None:
        """Begin with what is known.

        Args:
            space: of the candidates.
            limit_ms: hard limit of the study's latency.
            known: the study's finished trials, in the order in which they ended; the search adds to it.
            genotypes: valid genotype of every trial, by number; the search adds to it.
        """
        self._space = space
        self._limit_ms = limit_ms
        self._known = known
        self._genotypes = genotypes
        self._learned_from = 0
        self._model: LatencyModel | None = None
        self._threshold_ms = limit_ms
        self.passed_over: set[str] = set()
        """arch_hash of what was judged to be over the limit."""
        self.news: list[str] = []
        """Lines for people, to be taken away."""

    def excess(self, genotype: Genotype, arch_hash: str) -> float | None:
        """By how much of the limit a candidate is predicted to be over it; None where that is not sure enough to pass
        it over."""
        with one_thread():
            self._learn()
            predicted_ms = 0.0 if self._model is None else float(self._model.predict([genotype])[0])
        if predicted_ms <= self._threshold_ms:
            return None
        self.passed_over.add(arch_hash)
        return predicted_ms / self._limit_ms - 1

    def _learn(self) -> None:
        """Anew, when there is enough to learn."""
        timings = sum(trial.latency is not None for trial in self._known.values())
        if timings < max(MIN_TIMINGS, GROWTH * self._learned_from):
            return
        self._learned_from = timings
        genotypes, latency_ms = timed_genotypes(list(self._known.values()), self._genotypes)
        quality = latency_quality(self._space, genotypes, latency_ms)
        before = self._model
        self._model = LatencyModel(self._space).fit(genotypes, latency_ms) if quality.near >= MIN_NEAR else None
        self._threshold_ms = self._limit_ms * quality.overestimate
        if (before is None) != (self._model is None):
            over = f"candidates predicted above {cost_text('latency_ms', self._threshold_ms)} are passed over"
            said = "nothing is passed over any more" if self._model is None else over
            self.news.append(f"latency is predicted ({held_out_text(quality)}): {said}")
