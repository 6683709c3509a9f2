"""What every nas.protocols.Store does. A test class inherits StoreContract and gives the fixture `store`: an empty
Store."""

import math
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from db.store import SqlStore
from nas.data_facts import DataFacts
from nas.errors import InvalidInputError, NasError, StudyLockedError
from nas.pareto.front import FrontKeeper
from nas.processes import current_process, machine, process_id
from nas.protocols import Store
from nas.records import (
    Costs,
    FinalFront,
    Finalist,
    FinalTraining,
    Front,
    FrontMember,
    KeptWeights,
    Latency,
    Lease,
    ProcessId,
    Retiming,
    RungScore,
    StudyRecord,
    TrialFacts,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
TARGET = {"kind": "cpu", "threads": 1, "batch": 1, "dtype": "float32"}
REFERENCE = (0.1, 100.0)


def study_record(study: str = "study", created: datetime = NOW) -> StudyRecord:
    return StudyRecord(
        name=study,
        uid=study.encode().hex()[:32],
        space="hybrid_layout",
        space_module="",
        scale="nano",
        mixers="",
        space_hash="5" * 64,
        objectives=("top1", "latency_ms"),
        reference_point=REFERENCE,
        data="digits",
        data_location="digits",
        data_fingerprint="d" * 64,
        data_facts=DataFacts(
            mean=(0.1, 0.25, 1 / 3),
            std=(0.5, 0.5, 0.5),
            interpolation="bilinear",
            crop_pct=0.875,
            crop_mode="center",
            label_names=("größe", 'a "b"', "\\udce9"),
            num_train=3_000_000_000,
            num_validation=2,
            num_test=0,
        ),
        recipe={"epochs": 2, "batch_size": 64, "lr": 2e-3, "rungs": [128]},
        target=TARGET,
        limits={"latency_ms": 12.5, "param_count": 3_000_000},
        seed=7,
        device="cpu",
        artifacts="runs/artifacts",
        config={"storage": "sqlite:///nas.db", "workers": 2, "nested": {"ünï": [1, None, True]}},
        code_version="0.1.0+abc",
        created=created,
    )


def kept_weights(number: int) -> KeptWeights:
    return KeptWeights(f"weights/study/{number}.safetensors", f"{number:064x}")


def complete_trial(number: int, top1: float = 0.5, median_ms: float = 10.0) -> TrialFacts:
    return TrialFacts(
        trial_number=number,
        arch_hash=f"{number:064x}",
        spec={"stages": [{"depth": number, "mixers": ["conv", "full"]}], "image_size": 32},
        layout=f"conv x{number} | full x1",
        costs=Costs(param_count=1000 + number, macs=2**40 + number),
        seed=2**40,
        state="COMPLETE",
        latency=Latency(
            TARGET, {"host": "a", "load": 0.25}, median_ms, median_ms * 0.9, median_ms * 1.1, median_ms * 1.3, 30
        ),
        rungs=(RungScore(0, 128, top1 / 2, 2.1, 1.5), RungScore(1, 256, top1, 1.7, 3.1)),
        weights=kept_weights(number),
        device="cpu",
        worker="worker-1",
        duration_s=93_784.25,  # over a day
    )


def trials_of_every_kind() -> list[TrialFacts]:
    complete = complete_trial(0)
    assert complete.latency is not None
    return [
        complete,
        replace(complete_trial(1), latency=None, weights=None),
        replace(complete_trial(2), state="PRUNED", rungs=complete.rungs[:1], weights=None),
        replace(
            complete_trial(3),
            state="REJECTED",
            reason="latency_ms 14.2 is over the limit 12.5",
            rungs=(),
            weights=None,
        ),
        replace(
            complete_trial(4),
            state="REJECTED",
            reason="macs",
            latency=None,
            rungs=(),
            weights=None,
            device="",
            worker="",
        ),
        replace(
            complete_trial(5),
            state="FAIL",
            reason="loss is nan at step 12 → stopped\nline two",
            rungs=(),
            weights=None,
        ),
        replace(complete_trial(6), state="FAIL", reason="", latency=None, rungs=(), weights=None, duration_s=0.0),
        replace(
            complete_trial(7),
            latency=replace(complete.latency, median_ms=0.1 + 0.2, p95_ms=1.7976931348623157e308, ci_low_ms=5e-324),
        ),
        replace(
            complete_trial(8),
            arch_hash=complete.arch_hash,
            spec=complete.spec,
            layout=complete.layout,
            costs=complete.costs,
        ),
    ]


def front_with(*trials: TrialFacts, version: int = 1) -> Front:
    members = tuple(
        FrontMember(t.trial_number, t.arch_hash, t.top1 or 0.0, t.cost("latency_ms") or 0.0) for t in trials
    )
    return Front(version, NOW + timedelta(minutes=version), REFERENCE, 0.25 * version, members)


def final_training(number: int) -> FinalTraining:
    return FinalTraining(
        trial_number=number,
        recipe={"rungs": [8, 16], "learning_rate": 2e-3},
        recipe_hash="f" * 64,
        seed=7,
        purpose="final",
        state="COMPLETE",
        rungs=(RungScore(0, 8, 0.5, 2.1, 1.5), RungScore(1, 16, 0.75, 1.7, 93_784.25)),
        test_top1=0.1 + 0.2,
        weights=KeptWeights("finalists/study/3.safetensors", "3" * 64),
        device="cpu",
    )


def final_front(version: int, *numbers: int) -> FinalFront:
    finalists = [
        Finalist(
            number,
            f"{number:064x}",
            "f" * 64,
            (8, 9),
            0.8,
            0.01,
            0.71,
            0.89,
            1.5 + number,
            1.4,
            1.6,
            number == 0,
            0.1 + 0.2,
        )
        for number in numbers
    ]
    return FinalFront(version, NOW + timedelta(minutes=version), "test", tuple(finalists))


def live_process() -> ProcessId:
    """This process."""
    return current_process()


def dead_process() -> ProcessId:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_id(psutil.Process(child.pid))
    child.communicate()
    return identity


def lease_of(process: ProcessId, host: str = "here", age_s: float = 0.0) -> Lease:
    """A lease on this machine for the host `here`, else on another one."""
    where = machine() if host == "here" else f"kernel of {host}"
    token = f"{host} {process.pid} {process.start_time}"
    return Lease(host, process, NOW - timedelta(seconds=age_s), where, token)


def overtake(store: Store, study: str, owner: Lease) -> None:
    """Another coordinator, with a store of its own, takes the study."""
    other = SqlStore(store._engine) if isinstance(store, SqlStore) else store
    other.acquire_lease(study, lease_of(live_process(), host="there"), silent=owner)


class StoreContract:
    """Searches, facts, fronts and leases, as nas.protocols.Store describes them."""

    def test_a_study_is_read_back_equal(self, store: Store) -> None:
        study = study_record()
        store.create_study(study)
        assert store.study("study") == study
        without_latency = replace(
            study, name="other", uid="e" * 32, target=None, limits={}, objectives=("top1", "macs")
        )
        store.create_study(without_latency)
        assert store.study("other") == without_latency

    def test_studies_stand_by_creation(self, store: Store) -> None:
        for study, day in [("c", 3), ("a", 1), ("b", 2)]:
            store.create_study(study_record(study, NOW + timedelta(days=day)))
        assert [study.name for study in store.studies()] == ["a", "b", "c"]

    def test_a_time_with_an_offset_is_the_same_moment(self, store: Store) -> None:
        local = NOW.astimezone(datetime.strptime("+0530", "%z").tzinfo)
        store.create_study(study_record(created=local))
        study = store.study("study")
        assert study is not None
        assert study.created == NOW
        assert study.created.utcoffset() == timedelta(0)

    def test_a_second_study_of_one_name_is_refused(self, store: Store) -> None:
        store.create_study(study_record())
        with pytest.raises(InvalidInputError, match=r"'study' exists.*--study"):
            store.create_study(replace(study_record(), seed=8))
        assert store.study("study") == study_record()

    def test_an_unknown_study_has_nothing(self, store: Store) -> None:
        assert store.study("nobody") is None
        assert store.lease("nobody") is None
        assert store.front("nobody") is None
        assert list(store.facts("nobody")) == []
        assert dict(store.timings("nobody")) == {}
        assert list(store.retimings("nobody")) == []
        assert list(store.final_trainings("nobody")) == []
        assert store.final_front("nobody") is None
        assert list(store.exports("nobody")) == []
        with pytest.raises(InvalidInputError, match=r"no study 'nobody'.*status"):
            store.check_fronts("nobody")

    def test_facts_are_exactly_what_was_recorded(self, store: Store) -> None:
        store.create_study(study_record())
        trials = trials_of_every_kind()
        for facts in trials:
            store.record("study", facts, None)
        assert list(store.facts("study")) == trials

    def test_facts_come_in_the_order_in_which_trials_ended(self, store: Store) -> None:
        store.create_study(study_record())
        for number in (11, 2, 30, 1):
            store.record("study", complete_trial(number), None)
        assert [facts.trial_number for facts in store.facts("study")] == [11, 2, 30, 1]

    def test_what_a_crashed_worker_printed_is_recorded_readably(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", replace(complete_trial(0), state="FAIL", reason="exit \0 \udcff\udcfe ü", rungs=()), None)
        [facts] = store.facts("study")
        assert facts.reason == "exit ? ?? ü"

    def test_facts_are_values_not_references(self, store: Store) -> None:
        store.create_study(study_record())
        facts = complete_trial(0)
        store.record("study", facts, None)
        facts.spec["image_size"] = 224
        [first] = store.facts("study")
        first.spec["image_size"] = 64
        [second] = store.facts("study")
        assert second.spec["image_size"] == 32

    def test_studies_do_not_mix(self, store: Store) -> None:
        other = replace(complete_trial(1), arch_hash=complete_trial(0).arch_hash)
        for study, facts in [("a", complete_trial(0)), ("b", other)]:
            store.create_study(study_record(study))
            store.record(study, facts, front_with(facts))
        assert list(store.facts("a")) == [complete_trial(0)]
        assert list(store.facts("b")) == [other]
        assert store.front("b") == front_with(other)

    def test_another_description_of_one_architecture_changes_no_older_facts(self, store: Store) -> None:
        store.create_study(study_record())
        old = complete_trial(0)
        new = replace(old, trial_number=1, layout="in new words", costs=replace(old.costs, macs=5))
        for facts in (old, new, replace(old, trial_number=2)):
            store.record("study", facts, None)
        assert list(store.facts("study")) == [old, new, replace(old, trial_number=2)]

    def test_facts_are_stored_once(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(0), front_with(complete_trial(0)))
        again = complete_trial(0, top1=0.9)
        with pytest.raises(NasError, match=r"trial 0.*'study' is recorded already"):
            store.record("study", again, front_with(again, version=2))
        assert list(store.facts("study")) == [complete_trial(0)]
        assert store.front("study") == front_with(complete_trial(0))

    def test_facts_of_an_unknown_study_are_refused(self, store: Store) -> None:
        with pytest.raises(InvalidInputError, match="no study 'nobody'"):
            store.record("nobody", complete_trial(0), None)

    def test_reading_facts_does_not_hinder_writing(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(0), None)
        store.record("study", complete_trial(1), None)
        unfinished = store.facts("study")
        assert next(unfinished).trial_number == 0
        store.record("study", complete_trial(2), None)
        assert [facts.trial_number for facts in unfinished] == [1]

    def test_fronts_are_versions(self, store: Store) -> None:
        store.create_study(study_record())
        assert store.front("study") is None
        keeper = FrontKeeper("latency_ms", REFERENCE)
        recorded = []
        for number, (top1, median_ms) in enumerate([(0.5, 20.0), (0.4, 30.0), (0.3, 10.0), (0.7, 20.0), (0.7, 20.0)]):
            facts = complete_trial(number, top1, median_ms)
            front = keeper.add(facts)
            store.record("study", facts, front)
            recorded += [front] if front else []
            assert store.front("study") == recorded[-1]
        assert [(front.version, len(front.members)) for front in recorded] == [(1, 1), (2, 2), (3, 2), (4, 3)]
        assert store.check_fronts("study") == []

    def test_a_front_of_unrecorded_trials_is_refused_with_its_facts(self, store: Store) -> None:
        store.create_study(study_record())
        with pytest.raises(InvalidInputError, match="trial 9 has no recorded facts"):
            store.record("study", complete_trial(0), front_with(complete_trial(0), complete_trial(9)))
        assert list(store.facts("study")) == []
        assert store.front("study") is None

    def test_a_front_version_is_stored_once(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(0), front_with(complete_trial(0)))
        with pytest.raises(NasError, match=r"front 1 of study 'study' is recorded already"):
            store.record("study", complete_trial(1), front_with(complete_trial(1)))
        assert list(store.facts("study")) == [complete_trial(0)]

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_only_finite_numbers_are_recorded(self, store: Store, bad: float) -> None:
        with pytest.raises(ValueError, match="only finite"):
            store.create_study(replace(study_record(), reference_point=(0.1, bad)))
        store.create_study(study_record())
        trial = complete_trial(0)
        with pytest.raises(ValueError, match="only finite"):
            store.record("study", trial, replace(front_with(trial), hypervolume=bad))
        with pytest.raises(ValueError, match="only finite"):
            store.record(
                "study", trial, replace(front_with(trial), members=(FrontMember(0, trial.arch_hash, 0.5, bad),))
            )
        assert trial.latency is not None
        with pytest.raises((ValueError, NasError), match="JSON compliant"):
            store.record("study", replace(trial, latency=replace(trial.latency, conditions={"load": bad})), None)
        assert list(store.facts("study")) == []

    def test_weights_are_forgotten(self, store: Store) -> None:
        store.create_study(study_record())
        for number in range(3):
            store.record("study", complete_trial(number), None)
        store.forget_weights("study", [0, 2])
        store.forget_weights("study", [])
        assert [facts.weights for facts in store.facts("study")] == [None, kept_weights(1), None]
        with pytest.raises(InvalidInputError, match="trial 8 has no recorded facts"):
            store.forget_weights("study", [1, 8])
        assert list(store.facts("study"))[1].weights == kept_weights(1)

    def test_only_recorded_trials_are_exported(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(0), None)
        with pytest.raises(InvalidInputError, match="trial 9999 has no recorded facts"):
            store.record_export("study", 9999, "winner", "/zoo/winner")
        with pytest.raises(InvalidInputError, match="no study 'nobody'"):
            store.record_export("nobody", 0, "winner", "/zoo/winner")
        assert list(store.exports("study")) == []

    def test_exports_are_read_back_in_their_order(self, store: Store) -> None:
        before = datetime.now(UTC)
        for study in ("study", "other"):
            store.create_study(study_record(study))
            store.record(study, complete_trial(3), None)
        store.record_export("study", 3, "winner", "/zoo/winner")
        store.record_export("other", 3, "second", "/zoo/second")
        store.record_export("study", 3, "winner", "/zoo/winner")  # exported anew
        exports = store.exports("study")
        assert [(e.trial_number, e.name, e.path) for e in exports] == [(3, "winner", "/zoo/winner")] * 2
        assert before <= exports[0].exported <= exports[1].exported <= datetime.now(UTC)

    def test_a_later_timing_of_a_trial_leaves_its_facts_and_front(self, store: Store) -> None:
        store.create_study(study_record())
        trial = complete_trial(3)
        assert trial.latency is not None
        store.record("study", trial, front_with(trial))
        later = replace(trial.latency, target={"kind": "cuda"}, median_ms=0.1 + 0.2)
        store.record_latency("study", 3, later)
        assert {number: list(timed) for number, timed in store.timings("study").items()} == {3: [trial.latency, later]}
        assert list(store.facts("study")) == [trial]
        assert store.front("study") == front_with(trial)
        with pytest.raises(InvalidInputError, match="trial 4 has no recorded facts"):
            store.record_latency("study", 4, later)
        with pytest.raises(InvalidInputError, match="no study 'nobody'"):
            store.record_latency("nobody", 3, later)

    def test_retimings_stand_beside_the_facts(self, store: Store) -> None:
        store.create_study(study_record())
        assert list(store.retimings("study")) == []
        trials = [complete_trial(number) for number in (3, 4)]
        for trial in trials:
            store.record("study", trial, front_with(trials[0]) if trial is trials[0] else None)
        second = replace(complete_trial(0).latency, median_ms=0.1 + 0.2)
        elsewhere = replace(second, target={"kind": "cuda"})
        sittings = [
            Retiming(TARGET, {4: second, 3: second}),
            Retiming({"kind": "cuda"}, {3: elsewhere}),
            Retiming(TARGET, {3: second}),
        ]
        for sitting in sittings:
            store.record_retiming("study", sitting)
        assert list(store.retimings("study")) == sittings
        assert list(store.retimings("study")[0].latencies) == [4, 3]
        assert list(store.facts("study")) == trials
        assert store.front("study") == front_with(trials[0])
        assert {number: list(timed) for number, timed in store.timings("study").items()} == {
            3: [trials[0].latency],
            4: [trials[1].latency],
        }

    def test_a_retiming_is_of_recorded_trials(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(3), None)
        second = complete_trial(0).latency
        assert second is not None
        with pytest.raises(InvalidInputError, match="trial 4 has no recorded facts"):
            store.record_retiming("study", Retiming(TARGET, {3: second, 4: second}))
        with pytest.raises(InvalidInputError, match="no study 'nobody'"):
            store.record_retiming("nobody", Retiming(TARGET, {3: second}))
        assert list(store.retimings("study")) == []

    def test_final_trainings_are_exactly_what_was_recorded(self, store: Store) -> None:
        store.create_study(study_record())
        assert list(store.final_trainings("study")) == []
        store.record("study", complete_trial(3), None)
        complete = final_training(3)
        trainings = [
            complete,
            replace(complete, seed=8, purpose="tuning", test_top1=None, weights=None),
            replace(complete, seed=9, state="PRUNED", rungs=complete.rungs[:1], test_top1=None, weights=None),
            replace(
                complete,
                seed=10,
                state="FAIL",
                reason="non-finite loss \0",
                rungs=(),
                test_top1=None,
                weights=None,
            ),
            replace(complete, recipe={"steps": 9}, recipe_hash="e" * 64),
        ]
        for training in trainings:
            store.record_final_training("study", training)
        trainings[3] = replace(trainings[3], reason="non-finite loss ?")
        assert list(store.final_trainings("study")) == trainings

    def test_a_final_training_is_stored_once_and_of_a_recorded_trial(self, store: Store) -> None:
        store.create_study(study_record())
        store.record("study", complete_trial(3), None)
        store.record_final_training("study", final_training(3))
        with pytest.raises(NasError, match="final training of trial 3 with seed 7 is recorded already"):
            store.record_final_training("study", replace(final_training(3), test_top1=0.9))
        with pytest.raises(InvalidInputError, match="trial 4 has no recorded facts"):
            store.record_final_training("study", final_training(4))
        with pytest.raises(InvalidInputError, match="no study 'nobody'"):
            store.record_final_training("nobody", final_training(3))
        assert list(store.final_trainings("study")) == [final_training(3)]

    def test_final_fronts_are_versions(self, store: Store) -> None:
        store.create_study(study_record())
        assert store.final_front("study") is None
        for number in (0, 1):
            store.record("study", complete_trial(number), None)
        for version in (1, 2):
            front = final_front(version, 1, 0)
            store.record_final_front("study", front)
            assert store.final_front("study") == front
        with pytest.raises(NasError, match="final front 2 of study 'study' is recorded already"):
            store.record_final_front("study", final_front(2, 0))
        with pytest.raises(InvalidInputError, match="trial 5 has no recorded facts"):
            store.record_final_front("study", final_front(3, 5))
        assert store.final_front("study") == final_front(2, 1, 0)

    def test_a_free_study_is_taken(self, store: Store) -> None:
        owner = lease_of(live_process())
        assert store.acquire_lease("study", owner) is None
        store.release_lease("study", owner)
        assert store.acquire_lease("study", lease_of(dead_process())) is None

    def test_a_live_owner_keeps_its_study(self, store: Store) -> None:
        owner = lease_of(live_process(), age_s=4000.0)  # a laptop that slept: alive all the same
        store.acquire_lease("study", owner)
        with pytest.raises(
            StudyLockedError, match=rf"'study'.*process {owner.process.pid} on host here.*2026-03-01 10:53:20"
        ):
            store.acquire_lease("study", lease_of(dead_process()))
        assert store.acquire_lease("another study", owner) is None

    def test_a_dead_owner_on_this_host_is_followed_at_once(self, store: Store) -> None:
        former = replace(
            lease_of(dead_process()), ray_processes=(ProcessId(4, 1.25), ProcessId(5, 2.5)), ray_session="session_1"
        )
        store.acquire_lease("study", former)
        assert store.acquire_lease("study", lease_of(live_process())) == former
        with pytest.raises(StudyLockedError):
            store.acquire_lease("study", former)

    def test_a_killed_owner_that_nobody_reaped_is_dead(self, store: Store) -> None:
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
        former = lease_of(process_id(psutil.Process(child.pid)))
        store.acquire_lease("study", former)
        with pytest.raises(StudyLockedError):
            store.acquire_lease("study", lease_of(live_process()))
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert store.acquire_lease("study", lease_of(live_process())) == former
        child.communicate()

    def test_a_later_process_with_the_number_of_the_owner_is_not_the_owner(self, store: Store) -> None:
        process = live_process()
        former = lease_of(replace(process, start_time=process.start_time - 3600.0))
        store.acquire_lease("study", former)
        assert store.acquire_lease("study", lease_of(process)) == former

    def test_an_owner_on_another_machine_is_followed_when_it_counts_as_silent(self, store: Store) -> None:
        former = lease_of(live_process(), host="there", age_s=3600.0)
        store.acquire_lease("study", former)
        with pytest.raises(StudyLockedError, match=r"on host there, last heartbeat 2026-03-01 11:00:00 UTC"):
            store.acquire_lease("study", lease_of(live_process()))
        assert store.acquire_lease("study", lease_of(live_process()), silent=former) == former

    def test_a_heartbeat_keeps_the_study(self, store: Store) -> None:
        owner = lease_of(live_process(), host="there", age_s=3600.0)
        store.acquire_lease("study", owner)
        renewed = replace(owner, heartbeat=NOW, ray_processes=(ProcessId(9, 1.0),), ray_session="session_2")
        store.renew_lease("study", renewed)
        with pytest.raises(StudyLockedError):
            store.acquire_lease("study", lease_of(live_process()), silent=owner)
        assert store.acquire_lease("study", lease_of(live_process()), silent=renewed) == renewed

    def test_who_has_the_study_already_takes_it_again(self, store: Store) -> None:
        """The answer to the first attempt was lost."""
        owner = lease_of(live_process())
        store.acquire_lease("study", owner)
        assert store.acquire_lease("study", owner) is None

    def test_nothing_is_written_after_a_takeover(self, store: Store) -> None:
        store.create_study(study_record())
        store.acquire_lease("study", lease_of(live_process()))
        store.record("study", complete_trial(0), None)
        store.release_lease("study", lease_of(live_process()))
        slept = lease_of(live_process())
        store.acquire_lease("study", slept)
        overtake(store, "study", slept)
        writings = (
            lambda: store.record("study", complete_trial(1), None),
            lambda: store.forget_weights("study", [0]),
            lambda: store.record_final_training("study", final_training(0)),
        )
        for write in writings:
            with pytest.raises(StudyLockedError, match="on host there owns it now"):
                write()
        assert list(store.facts("study")) == [complete_trial(0)]

    def test_an_owner_that_lost_its_study_is_told(self, store: Store) -> None:
        former = lease_of(dead_process())
        store.acquire_lease("study", former)
        owner = lease_of(live_process())
        store.acquire_lease("study", owner)
        with pytest.raises(
            StudyLockedError, match=rf"{former.process.pid}.*process {owner.process.pid} on host here owns it now"
        ):
            store.renew_lease("study", former)
        store.release_lease("study", former)
        store.renew_lease("study", owner)
        store.release_lease("study", owner)
        with pytest.raises(StudyLockedError, match="nobody owns it now"):
            store.renew_lease("study", owner)

    def test_a_heartbeat_thread_does_not_disturb_the_records(self, store: Store) -> None:
        store.create_study(study_record())
        owner = lease_of(live_process())
        store.acquire_lease("study", owner)
        stop = threading.Event()
        failures = []

        def beat() -> None:
            while not stop.is_set():
                try:
                    store.renew_lease("study", owner)
                except NasError as error:
                    failures.append(error)
                    return

        thread = threading.Thread(target=beat)
        thread.start()
        for number in range(20):
            store.record("study", complete_trial(number), None)
        stop.set()
        thread.join()
        assert failures == []
        assert len(list(store.facts("study"))) == 20
