"""Who is next, and on which GPUs."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from db.submissions import Submission
from hybrid_nas.service.slots import Capacity, Need, fair_order, take

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def submission(number: int, owner: str) -> Submission:
    queued = BEGAN + timedelta(seconds=number)
    return Submission(
        id=number,
        study=f"s{number}",
        owner=owner,
        options={},
        state="queued",
        after_stop=None,
        created=queued,
        queued=queued,
        started=None,
        ended=None,
        attempts=0,
        evaluated_before=0,
        exit_line=None,
        gpus={},
        revision=1,
    )


def test_owners_take_turns() -> None:
    queued = [submission(number, owner) for number, owner in enumerate("aaabbc")]
    order = fair_order(queued, [submission(9, "a")], {"a": BEGAN})
    assert [each.owner for each in order] == ["b", "c", "a", "b", "a", "a"]


def test_one_slot_goes_from_owner_to_owner() -> None:
    left = [submission(number, owner) for number, owner in enumerate("aaabbc")]
    starts: dict[str, datetime] = {}
    order = []
    while left:
        following = fair_order(left, [], starts)[0]
        left.remove(following)
        starts[following.owner] = BEGAN + timedelta(hours=len(order))
        order.append(following.owner)
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_who_lost_a_process_keeps_the_turn() -> None:
    queued = [submission(1, "b"), replace(submission(2, "a"), attempts=1)]
    assert [each.owner for each in fair_order(queued, [], {"a": BEGAN})] == ["a", "b"]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=4))
def test_nobody_is_forgotten_and_nobody_passes_their_own(owners: list[str], running: list[str]) -> None:
    queued = [submission(number, owner) for number, owner in enumerate(owners)]
    order = fair_order(queued, [submission(100 + number, owner) for number, owner in enumerate(running)], {})
    assert Counter(each.id for each in order) == Counter(each.id for each in queued)
    for owner in "abc":
        own = [each.id for each in order if each.owner == owner]
        assert own == sorted(own)


NEEDS = st.builds(Need, st.integers(1, 4), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0, 2.0]))


@given(st.lists(NEEDS, max_size=12), st.integers(1, 6), st.integers(0, 4))
def test_no_gpu_is_given_twice(needs: list[Need], slots: int, gpus: int) -> None:
    capacity = Capacity(slots, 8, gpus)
    running: list[tuple[Need, dict[str, float]]] = []
    for need in needs:
        shares = take(capacity, need, running)
        if shares is not None:
            running.append((need, shares))
    taken = Counter[str]()
    for need, shares in running:
        taken.update(shares)
        assert sum(shares.values()) >= need.workers * need.gpus_per_worker - 1e-6
    assert len(running) <= slots
    assert set(taken) <= {str(index) for index in range(gpus)}
    assert all(share <= 1 + 1e-5 for share in taken.values())


def test_cores_are_shared_out_and_a_large_search_runs_alone() -> None:
    two = Need(2, 0.0)
    assert take(Capacity(4, 4, 0), two, [(two, {})]) == {}
    assert take(Capacity(4, 4, 0), two, [(two, {}), (two, {})]) is None
    assert take(Capacity(4, 4, 0), Need(99, 0.0), []) == {}
