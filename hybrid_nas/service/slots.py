"""Who is next, and on which GPUs: pure functions, so that fairness and shares can be proved without a process."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from db.submissions import Submission
from workers.devices import gpu_places

Shares = dict[str, float]
"""GPU -> share that is taken."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a host has for searches."""

    slots: int
    """Searches at a time."""
    cores: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a search takes."""

    workers: int
    gpus_per_worker: float


def fair_order(
    queued: Sequence[Submission], running: Sequence[Submission], last_starts: Mapping[str, datetime]
) -> list[Submission]:
    """The order in which searches start.

    One that was started and lost its process goes on first, because its turn is not over. Then comes the owner with the
    fewest searches, and among equals the one whose last turn was the longest ago, by the search that has waited
    longest. So one slot, too, goes from owner to owner.

    Args:
        queued: what waits.
        running: what has a slot.
        last_starts: owner -> when a search of theirs was started last.
    """
    count = Counter(submission.owner for submission in running)
    turns = {owner: turn for turn, owner in enumerate(sorted(last_starts, key=last_starts.__getitem__), 1)}
    left = sorted(queued, key=lambda submission: (submission.queued, submission.id))
    order: list[Submission] = []
    while left:
        following = min(left, key=lambda each: (not each.attempts, count[each.owner], turns.get(each.owner, 0)))
        left.remove(following)
        count[following.owner] += 1
        turns[following.owner] = len(last_starts) + len(order) + 1
        order.append(following)
    return order


def take(capacity: Capacity, need: Need, running: Sequence[tuple[Need, Mapping[str, float]]]) -> Shares | None:
    """The GPUs that a search gets; empty for one that needs none.

    A share of a GPU is given beside others only where the whole search fits there. Workers over several GPUs get these
    whole, because Ray decides there on which of them a worker goes.

    Args:
        capacity: of the host.
        need: of the search.
        running: what each running search needs and has.

    Returns:
        None where there is no room now.
    """
    if len(running) >= capacity.slots:
        return None
    if not need.gpus_per_worker:
        busy = sum(other.workers for other, taken in running if not taken)
        return None if busy and busy + need.workers > capacity.cores else {}
    taken = Counter[str]()
    for _, shares in running:
        taken.update(shares)
    names = [str(index) for index in range(capacity.gpus)]
    whole = need.workers * need.gpus_per_worker
    if whole <= 1 + _ROUNDING:
        for name in names:
            if taken[name] + whole <= 1 + _ROUNDING:
                return {name: whole}
        return None
    free = [name for name in names if not taken[name]]
    for count in range(1, len(free) + 1):
        if gpu_places(count, need.gpus_per_worker) >= need.workers:
            return dict.fromkeys(free[:count], 1.0)
    return None
