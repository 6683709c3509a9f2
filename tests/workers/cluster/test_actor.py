"""The code of an actor, without Ray."""

import gc

from workers.cluster.actor import Work, Worker


def test_collections_leave_out_what_a_worker_opened() -> None:
    work = Work(
        open=lambda config, name: [config],
        evaluate=None,
        calibrate=None,
        fingerprint=lambda context: {"config": context[0]},
    )
    try:
        assert Worker(lambda: work, "data", "worker-0", None).open() == {"config": "data"}
        assert gc.get_freeze_count() > 1000
        assert gc.isenabled()
    finally:
        gc.unfreeze()
