"""What a worker is told once. Without torch, because the coordinator writes it and never trains."""

from dataclasses import asdict, dataclass
from typing import Self

from nas.data_facts import DataFacts
from nas.records import JSON
from search_spaces.space_module import SpaceModule
from workers.devices import CPU
from workers.recipe import Recipe


@dataclass(kw_only=True, frozen=True, slots=True)
class EvaluationConfig:
    """Everything a worker needs besides the job; plain values only, so it crosses processes and hosts."""

    data: str
    """digits, cifar10:DIR, ..."""
    recipe: Recipe
    """How to train."""
    data_fingerprint: str | None = None
    """What the data must be; None takes them as they are. Differing data on another node would make scores
    incomparable."""
    data_facts: DataFacts | None = None
    """What the study recorded of the data, for the words of a difference."""
    latency_target: str | None = None
    """What to time on; None skips the timing."""
    other_targets: tuple[str, ...] = ()
    """What to time on besides, when the candidate goes on after the first."""
    device: str = CPU
    """Where to train: cpu, or cuda:0 as this process numbers its devices."""
    threads: int = 1
    """Threads of torch in this process; scores on the CPU are reproducible for an equal number only."""
    teacher: str | None = None
    """What workers.training.distillation.load_teacher takes; None for a recipe without a teacher."""
    lock_folder: str | None = None
    """Where the device locks lie; None for the place that every process of this host shares."""
    cache: str | None = None
    """Folder under which decoded images are kept for all workers of a node; empty for the temporary folder of the node,
    None to decode in every worker."""
    space_module: SpaceModule | None = None
    """The module that builds the networks; None for networks of ours."""

    def to_json(self) -> JSON:
        module = self.space_module
        facts = self.data_facts
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {
            **plain,
            "recipe": self.recipe.to_json(),
            "data_facts": None if facts is None else facts.to_json(),
            "space_module": None if module is None else asdict(module),
        }

    @classmethod
    def from_json(cls, values: JSON) -> Self:
        """Inverse of to_json."""
        module = values["space_module"]
        facts = values["data_facts"]
        made = {
            "recipe": Recipe.from_json(values["recipe"]),
            "data_facts": None if facts is None else DataFacts.from_json(facts),
            "space_module": None if module is None else SpaceModule(**module),
        }
        return cls(**{**values, **made})
