"""What a search is asked to do: the command line's options after validation."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from nas.errors import InvalidInputError
from nas.records import JSON, Objectives

COST_OBJECTIVES = ("latency_ms", "macs", "param_count")
MAX_NAME_BYTES = 200
"""The longest name of a study, in UTF-8."""
WARM_STARTS = ("presets", "none")
EARLIER_STUDY = "study:"
"""Before the name of a study to begin with."""

STORAGE_TIMEOUT_S = 300.0
"""How long a command waits for a database or a disk where nothing else is said."""

LARGEST = 10**15
"""Numbers above this are mistakes, and beyond what computes with them."""

_TYPES = (
    (("budget", "seed", "patience", "workers", "rungs", "max_params", "max_macs"), int, "a whole number"),
    (("count", "times", "top", "seeds", "samples", "trial"), int, "a whole number"),
    (("keep", "gpus_per_worker", "trial_timeout_s", "max_latency_ms", "max_hours"), int | float, "a number"),
    (
        (
            "space",
            "study",
            "storage",
            "data",
            "scale",
            "mixers",
            "recipe",
            "sampler",
            "warm_start",
            "scores",
            "ray_address",
        ),
        str,
        "a text",
    ),
    (("teacher", "pick", "name", "trials", "latency_target"), str, "a text"),
)
"""Options, and what each is where it is given."""


def check_kinds(values: Mapping[str, object]) -> None:
    """Refuse options of another type than theirs: the command line gives the right ones, a program may not.

    Args:
        values: option, as Python spells it -> what was given; None for nothing.

    Raises:
        InvalidInputError: if one is wrong; the message names it.
    """
    for names, kind, expected in _TYPES:
        for name in names:
            value = values.get(name)
            is_wrong = isinstance(value, bool) or not isinstance(value, kind)
            if value is not None and is_wrong:
                raise InvalidInputError(f"{_option(name)} is {value!r}; expected {expected}")


def _option(name: str) -> str:
    """How the command line spells it."""
    return f"--{name.replace('_', '-')}"


def default_study(space: str, scale: str, data: str) -> str:
    """SPACE-SCALE-DATA, as a name that a study can have whatever the three are."""
    signs = (sign if sign.isprintable() and sign not in "/\\" else "-" for sign in f"{space}-{scale}-{data}")
    name = "".join(signs)
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: MAX_NAME_BYTES - 9].decode(errors='ignore')}-{digest}"


def check_storage_timeout(value: float) -> None:
    """Refuse a waiting time that is none.

    Raises:
        InvalidInputError: if it is not a number, negative or without end.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidInputError(f"--storage-timeout-s is {value!r}; expected seconds, 0 or more")


@dataclass(kw_only=True, slots=True, frozen=True)
class SearchConfig:
    """One search.

    Space, scale, mixers, data, recipe, rungs, objectives, latency target, limits and seed are fixed when the study is
    created; the rest is free.
    """

    space: str
    """Name of the search space."""
    budget: int
    """Number of distinct architectures to evaluate in the study, earlier runs included."""
    study: str
    """Name of the study; the same name continues it."""
    storage: str
    """SQLAlchemy URL of the database."""
    artifacts: str
    """Folder for weights and drawings."""
    cache: str = ""
    """Folder under which decoded images are kept; empty for the temporary folder of each node."""
    data: str = "digits"
    """digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE."""
    recipe: str | None = None
    """How candidates are trained: a name or a JSON file; None for the default of the data."""
    scale: str = "nano"
    """Size class of the networks."""
    mixers: str | None = None
    """What the space may choose among: names, or sets of them; None for its default."""
    objectives: Objectives = ("top1", "latency_ms")
    """top1 and one cost."""
    latency_target: str | None = None
    """What latency_ms is measured on; None when neither an objective nor a limit needs it."""
    other_targets: tuple[str, ...] = ()
    """Further targets that every candidate is timed on; neither objective nor limit, so free."""
    workers: int = 1
    """Concurrent evaluations."""
    gpus_per_worker: float = 0.0
    """Share of a GPU that each worker reserves."""
    sampler: str = "ehvi"
    """Who proposes genotypes."""
    seed: int = 0
    """Seed of the sampler and of every training."""
    max_latency_ms: float | None = None
    """Hard limit: a slower candidate is rejected before training."""
    max_params: int | None = None
    """Hard limit on trainable parameters."""
    max_macs: int | None = None
    """Hard limit on multiply-adds of one image."""
    max_hours: float | None = None
    """Stop after this wall time; the same command continues."""
    rungs: int = 1
    """How often a training is scored; at each score but the last it may be stopped."""
    keep: float = 0.5
    """Share of the architectures that goes on from each rung."""
    patience: int | None = None
    """Stop when this many evaluated architectures in a row, earlier runs included, added nothing to the hypervolume."""
    trial_timeout_s: float = 3600.0
    """A job without progress for this long has its worker replaced."""
    warm_start: str = "presets"
    """presets: begin with published layouts; none: begin with the sampler; study:NAME: begin with the front of an
    earlier study."""
    scores: str | None = None
    """Names of training-free scores and a file of others, by commas; None for none."""
    ray_address: str | None = None
    """Address of a running Ray cluster; None starts a local one."""
    storage_timeout_s: float = STORAGE_TIMEOUT_S
    """How long the search waits for a database or a disk that cannot be used; 0 for not at all."""

    def __post_init__(self) -> None:
        check_kinds({field.name: getattr(self, field.name) for field in fields(self)})
        self._check_numbers()
        self._check_words()

    def _check_numbers(self) -> None:
        if not 1 <= self.budget <= LARGEST:
            raise InvalidInputError(
                f"--budget is {self.budget}; expected the number of architectures to evaluate, at least 1 and at most "
                f"{LARGEST:g}"
            )
        if not 0 <= self.seed < 2**31:  # samplers take 32 bits, and a study that goes on adds its trials to the seed
            raise InvalidInputError(f"--seed is {self.seed}; expected a whole number from 0 to {2**31 - 1}")
        if self.patience is not None and self.patience < 1:
            raise InvalidInputError(
                f"--patience is {self.patience}; expected a number of evaluations without growth, at least 1"
            )
        if self.rungs < 1:
            raise InvalidInputError(f"--rungs is {self.rungs}; expected how often a training is scored, at least 1")
        if not 0 < self.keep < 1:
            raise InvalidInputError(
                f"--keep is {self.keep:g}; expected the share that goes on from each rung, between 0 and 1"
            )
        if self.workers < 1:
            raise InvalidInputError(f"--workers is {self.workers}; expected at least 1")
        for option in ("max_latency_ms", "max_params", "max_macs", "max_hours", "trial_timeout_s"):
            value = getattr(self, option)
            if value is not None and not 0 < value <= LARGEST:
                raise InvalidInputError(
                    f"{_option(option)} is {value}; expected a positive number, at most {LARGEST:g}"
                )
        if not 0 <= self.gpus_per_worker < float("inf"):
            raise InvalidInputError(f"--gpus-per-worker is {self.gpus_per_worker}; expected 0 or more")
        check_storage_timeout(self.storage_timeout_s)

    def _check_words(self) -> None:
        if len(self.objectives) != 2 or self.objectives[0] != "top1" or self.objectives[1] not in COST_OBJECTIVES:
            raise InvalidInputError(
                f"--objectives is {','.join(self.objectives)!r}; expected top1 and one cost: "
                + " or ".join(f"top1,{cost}" for cost in COST_OBJECTIVES)
            )
        if self.warm_start not in WARM_STARTS and not self.warm_start.startswith(EARLIER_STUDY):
            raise InvalidInputError(
                f"--warm-start is {self.warm_start!r}; expected {', '.join(WARM_STARTS)} or {EARLIER_STUDY}NAME"
            )
        if self.warm_start == f"{EARLIER_STUDY}{self.study}":
            raise InvalidInputError(
                f"--warm-start names the study {self.study!r} itself, which continues anyway; expected an earlier one"
            )
        if self.latency_target is not None and not self.needs_latency:
            raise InvalidInputError(
                f"--latency-target is {self.latency_target!r}, and a search for {self.cost_objective} times "
                "nothing; expected the objective latency_ms, or a --max-latency-ms, with it"
            )
        # The name becomes that of a log file and of a folder of weights.
        if (
            not self.study.strip(" .")
            or not self.study.isprintable()
            or set("/\\") & set(self.study)
            or len(self.study.encode()) > MAX_NAME_BYTES
        ):
            raise InvalidInputError(
                f"--study is {self.study!r}; expected 1 to {MAX_NAME_BYTES} bytes of printable characters "
                "without slashes"
            )

    @property
    def cost_objective(self) -> str:
        return self.objectives[1]

    @property
    def limits(self) -> dict[str, float]:
        """Hard limits by the name of the cost they bound; empty when there are none."""
        given = {"latency_ms": self.max_latency_ms, "param_count": self.max_params, "macs": self.max_macs}
        return {name: float(value) for name, value in given.items() if value is not None}

    @property
    def needs_latency(self) -> bool:
        return self.cost_objective == "latency_ms" or self.max_latency_ms is not None

    def to_json(self) -> JSON:
        """For the record. The storage URL may hold a password: redact it before writing this anywhere."""
        return asdict(self)
