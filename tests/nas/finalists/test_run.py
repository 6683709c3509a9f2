"""What a finalization trains, and how it goes on after an interruption."""

from dataclasses import replace

import pytest

from nas.errors import NasError
from nas.finalists.plan import Variant
from nas.finalists.run import run_finals
from tests.doubles import MemoryFinals
from tests.finals import STUDY, VARIANTS, Trainer, finals, run


def test_every_finalist_is_tuned_with_the_seed_of_the_study_and_then_trained_with_others_at_its_best() -> None:
    store = MemoryFinals()
    trainer = Trainer()
    run(store, trainer, finals())
    tunings = [training for training in store.trainings if training.purpose == "tuning"]
    last = [(t.trial_number, t.recipe_hash[0], t.seed) for t in store.trainings if t.purpose == "final"]
    assert [(t.trial_number, t.recipe_hash[0]) for t in tunings] == [(n, v) for v in "ab" for n in (0, 2, 3)]
    assert {t.seed for t in tunings} == {STUDY.seed}
    assert last == [(0, "a", 8), (2, "b", 8), (3, "a", 8), (0, "a", 9), (2, "b", 9), (3, "a", 9)]


@pytest.mark.parametrize("killed_after", [0, 4, 8, 11])
def test_an_interrupted_run_goes_on_and_repeats_nothing(killed_after: int) -> None:
    whole = MemoryFinals()
    expected = run(whole, Trainer(), finals())
    store = MemoryFinals()
    first = Trainer(killed_after)
    second = Trainer()
    third = Trainer()
    with pytest.raises(KeyboardInterrupt):
        run(store, first, finals())
    front = run(store, second, finals())
    assert len(first.done) == killed_after
    assert sorted(first.done + second.done) == sorted({training.key for training in whole.trainings})
    assert front.finalists == expected.finalists
    assert run(store, third, finals()) == front
    assert third.done == []


def test_more_seeds_and_settings_add_to_what_is_there() -> None:
    store = MemoryFinals()
    assert run(store, Trainer(), finals()).version == 1
    more = Trainer()
    front = run(store, more, finals(num_seeds=3))
    assert len(more.done) == 3
    assert (front.version, [len(finalist.seeds) for finalist in front.finalists]) == (2, [3, 3, 3])
    better = Variant({**VARIANTS[0].recipe, "learning_rate": 9.0}, "c" * 64)
    more = Trainer()
    front = run(store, more, finals(variants=(*VARIANTS, better)))
    assert len(more.done) == 3  # tunings of the new one, which is chosen nowhere
    assert [len(finalist.seeds) for finalist in front.finalists] == [2, 2, 2]


def test_trainings_by_another_recipe_are_no_rivals() -> None:
    store = MemoryFinals()
    run(store, Trainer(), finals(variants=VARIANTS[:1]))
    tuned = {training.key for training in store.trainings if training.purpose == "tuning"}
    more = Trainer()
    run(store, more, finals())
    assert tuned <= set(more.ended)
    taught = Trainer()
    run(store, taught, finals(variants=[replace(VARIANTS[0], recipe_hash="t" * 64)]))
    assert (len(taught.done), taught.ended) == (9, [])


def test_a_study_that_was_taken_over_records_nothing() -> None:
    def lost() -> None:
        raise NasError("another process owns it")

    store = MemoryFinals()
    with pytest.raises(NasError, match="another process"):
        run_finals(finals(), store, Trainer(), lambda text: None, lost)
    assert store.trainings == []
