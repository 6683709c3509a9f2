"""Trials as a table of pandas, where pandas is installed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.records import Genotype, TrialFacts

if TYPE_CHECKING:
    import pandas as pd


def trials_frame(trials: Sequence[TrialFacts], genotypes: Mapping[int, Genotype]) -> "pd.DataFrame":
    """One row per trial, indexed by trial number, in the order in which they ended.

    Args:
        trials: of one study.
        genotypes: by trial number; a trial without one has no genes.

    Returns:
        Columns state, top1 (fraction), latency_ms (median), param_count, macs, layout, reason, duration_s, seed,
        arch_hash, and `gene_NAME` for every gene. What was not measured is missing.

    Raises:
        NasError: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise NasError("a table of trials needs pandas, which is not installed: pip install pandas") from error
    rows = [_row(trial, genotypes.get(trial.trial_number, {})) for trial in trials]
    return pd.DataFrame(rows, columns=None if rows else list(_COLUMNS)).set_index("trial_number")


_COLUMNS = (
    "trial_number",
    "state",
    "top1",
    "latency_ms",
    "param_count",
    "macs",
    "layout",
    "reason",
    "duration_s",
    "seed",
    "arch_hash",
)


def _row(trial: TrialFacts, genotype: Genotype) -> dict[str, Any]:
    values = (
        trial.trial_number,
        trial.state,
        trial.top1,
        trial.cost("latency_ms"),
        trial.costs.param_count,
        trial.costs.macs,
        trial.layout,
        trial.reason,
        trial.duration_s,
        trial.seed,
        trial.arch_hash,
    )
    genes = {f"gene_{name}": value for name, value in genotype.items()}
    return dict(zip(_COLUMNS, values, strict=True)) | genes
