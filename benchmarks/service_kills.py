"""kill -9 of everything that a service consists of, in the midst of a search: nothing is lost, nothing is doubled.

    python -m benchmarks.service_kills [--storage sqlite|postgresql] [--within 10] [--steps 64] [--part PART]...

Kills the service, a search, both, a worker of Ray, and PostgreSQL where that is the storage, each in turn. Prints one
line for everything that is so, with the seconds until the states were true again. Ends with 1 at the first thing that
is not. It takes about four minutes.
"""

import argparse
import signal
import time
from collections.abc import Callable

import psutil

from benchmarks.service_room import STORAGES, Person, Room, claim, claim_whole, opened_room, until, verdict
from db.browse import Browser
from db.engine import make_engine
from tests.postgres_server import PostgresServer

STUDY = "s"
BUDGET = 30
LATE = "t"
"""A search whose database goes away while it begins."""
LATE_BUDGET = 2
TRAINING = {"batch_size": 64, "learning_rate": 0.01}
AWAY_S = 3.0
"""How long the database is away."""
Rows = list[tuple[int, int, str]]
"""Row id, trial number and architecture, in the order of the rows."""


class Witness:
    """What was recorded of the search before a kill, and what must be so after it."""

    def __init__(self, room: Room, ada: Person, within_s: float) -> None:
        """Nothing is recorded yet; states are to be true so long after a restart."""
        self.room = room
        self.ada = ada
        self.within_s = within_s
        self._browser = Browser(make_engine(room.storage))
        self._rows: Rows = []

    @property
    def server(self) -> PostgresServer:
        """What is behind the storage."""
        assert self.room.postgres is not None
        return self.room.postgres

    def search(self) -> psutil.Process:
        """The one process of the search."""
        found = self.room.searches(STUDY)
        claim(f"one process searches: {[process.pid for process in found]}", len(found) == 1)
        return found[0]

    def true_after(self, what: str, began: float, is_right: Callable[[psutil.Process], bool]) -> None:
        """Claim that the service tells soon that the search runs, and that it is the right process."""

        def is_true() -> bool:
            searches = self.room.searches(STUDY)
            return self.ada.study(STUDY).get("state") == "running" and len(searches) == 1 and is_right(searches[0])

        until("the study runs, by the right process", is_true)
        seconds = time.monotonic() - began
        claim(f"{seconds:.1f} s after {what} the state is true: running", seconds < self.within_s, f"{seconds:.1f} s")

    def further(self) -> None:
        """Claim that every row from before is there under its own id, and that new ones come."""
        until("the search comes further", lambda: len(self._recorded()) > len(self._rows))
        rows = self._recorded()
        is_kept = rows[: len(self._rows)] == self._rows
        claim(f"its {len(self._rows)} rows are as they were, and there are {len(rows)} now", is_kept, rows)
        hashes = [row[2] for row in rows]
        claim("no architecture stands there twice", len(set(hashes)) == len(hashes), hashes)
        self._rows = rows

    def _recorded(self) -> Rows:
        outline = self._browser.outline(STUDY)
        if outline is None:
            return []
        rows = self._browser.trials_after(outline.id, 0, 10 * BUDGET)
        return [(row["id"], row["trial_number"], row["arch_hash"]) for row in rows]


def kill_service(witness: Witness) -> None:
    """The service dies, and the search goes on; the next one finds it."""
    print("-- kill -9 of the service")
    search = witness.search()
    witness.room.kill()
    began = time.monotonic()
    witness.room.start()
    witness.true_after("the restart", began, lambda found: found == search)
    witness.further()


def kill_search(witness: Witness) -> None:
    """The search dies; it is started again, and goes on with its study."""
    print("-- kill -9 of the search")
    search = witness.search()
    search.kill()
    witness.true_after("the kill", time.monotonic(), lambda found: found != search)
    witness.further()


def kill_both(witness: Witness) -> None:
    """Service and search die; the next service starts the search again."""
    print("-- kill -9 of the service and the search")
    search = witness.search()
    witness.room.kill()
    search.kill()
    began = time.monotonic()
    witness.room.start()
    witness.true_after("the restart", began, lambda found: found != search)
    witness.further()


def kill_worker(witness: Witness) -> None:
    """A worker dies in the midst of a training; the search replaces it."""
    print("-- kill -9 of a worker of Ray")
    search = witness.search()
    until("a worker is there", lambda: workers_of(search))
    [worker] = workers_of(search)
    worker.kill()
    witness.true_after("the kill", time.monotonic(), lambda found: found == search)
    witness.further()
    witness.further()


def workers_of(search: psutil.Process) -> list[psutil.Process]:
    """Processes of Ray that train for a search."""
    return [child for child in search.children(recursive=True) if "ray::Worker" in " ".join(child.cmdline())]


def kill_postgres(witness: Witness) -> None:
    """The database dies; the service says so, the search waits, and both go on."""
    print("-- kill -9 of PostgreSQL")
    search = witness.search()
    witness.server.halt(signal.SIGKILL)
    for path in (f"/studies/{STUDY}", "/health"):
        answer = witness.ada.client.get(path)
        claim(f"{path} answers 503 meanwhile", answer.status == 503, answer)
        print(f"        {answer.error['message']}")
    time.sleep(AWAY_S)
    witness.true_after("its restart", started_again(witness.server), lambda found: found == search)
    witness.further()


def kill_postgres_and_search(witness: Witness) -> None:
    """The search dies while the database is away, so that nobody can write down that it did."""
    print("-- kill -9 of PostgreSQL and of the search")
    search = witness.search()
    witness.server.halt(signal.SIGKILL)
    search.kill()
    time.sleep(AWAY_S)
    witness.true_after("its restart", started_again(witness.server), lambda found: found != search)
    witness.further()


def kill_postgres_and_service(witness: Witness) -> None:
    """Both die; the next service, started when the database is back, finds the search that waits."""
    print("-- kill -9 of PostgreSQL and of the service")
    search = witness.search()
    witness.server.halt(signal.SIGKILL)
    witness.room.kill()
    time.sleep(AWAY_S)
    began = started_again(witness.server)
    witness.room.start()
    witness.true_after("its restart", began, lambda found: found == search)
    witness.further()


def kill_postgres_at_the_beginning(witness: Witness) -> None:
    """The database dies while a search begins, which ends then; it is started again."""
    print("-- kill -9 of PostgreSQL while a search begins")
    room = witness.room
    submitted = witness.ada.submit(LATE, LATE_BUDGET)
    claim(f"ada submits {LATE}", submitted.status == 201, submitted.body)
    until("its process is there", lambda: room.searches(LATE))
    witness.server.halt(signal.SIGKILL)
    seconds = until("its process has ended", lambda: not room.searches(LATE), 60)
    print(f"        it ended after {seconds:.1f} s without a database")
    started_again(witness.server)
    until(f"{LATE} has ended", lambda: witness.ada.study(LATE).get("state") in ("finished", "failed"))
    found = witness.ada.study(LATE)
    claim(f"{LATE} has finished at its second start: {found['exit_line']}", found["state"] == "finished", found)
    claim_whole(room, LATE, LATE_BUDGET)


def started_again(server: PostgresServer) -> float:
    """Start the server again on the same folder; gives the moment when it answered."""
    # Its processes look now and then whether the one above them lives, and nothing starts beside the last of them.
    for attempt in range(10):
        try:
            server.start_again()
            return time.monotonic()
        except RuntimeError as error:
            print(f"        attempt {attempt + 1}: {str(error).strip().splitlines()[-1]}")
            time.sleep(1.0)
    claim("PostgreSQL starts again", False)
    raise AssertionError


def end_of(witness: Witness) -> None:
    """The budget is exact, and nothing works any more."""
    print("-- the end")
    until(f"{STUDY} has ended", lambda: witness.ada.study(STUDY).get("state") in ("finished", "failed"))
    found = witness.ada.study(STUDY)
    claim(f"{STUDY} has finished: {found['exit_line']}", found["state"] == "finished", found)
    claim_whole(witness.room, STUDY, BUDGET)
    total = witness.ada.client.get("/studies").json["total"]
    claim("the service knows one study", total == 1, total)
    until("the last process has ended", lambda: not witness.room.searches(STUDY))
    claim("no process of the search is left", True)


def kill_service_in_an_export(witness: Witness) -> None:
    """The service dies with a job in its queue; the next one does it, and once."""
    print("-- kill -9 of the service while a job exports")
    ada = witness.ada
    asked = ada.order(STUDY, "exports", {"pick": "knee", "name": "kept"})
    claim("ada asks for an export", asked.status == 202, asked.body)
    witness.room.kill()
    witness.room.start()
    path = f"/jobs/{asked.json['id']}"
    until("the job has ended", lambda: ada.client.get(path).json["state"] in ("finished", "failed"))
    job = ada.client.get(path).json
    claim(f"the job has finished: {job['message']}", job["state"] == "finished", job)
    names = [entry["name"] for entry in ada.client.get("/zoo").json["items"]]
    claim(f"the zoo holds what it wrote, once: {names}", names == ["kept"])


AMIDST = {
    "service": kill_service,
    "search": kill_search,
    "both": kill_both,
    "worker": kill_worker,
    "postgres": kill_postgres,
    "postgres-and-search": kill_postgres_and_search,
    "postgres-and-service": kill_postgres_and_service,
}
"""What is killed in the midst of one search."""
AFTER = {"export": kill_service_in_an_export, "postgres-at-the-beginning": kill_postgres_at_the_beginning}
"""What is killed after it."""


def main() -> None:
    """Kill one thing after the other, and print what is so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--within", type=float, default=10.0, help="seconds until states are true after a restart")
    parser.add_argument("--steps", type=int, default=64, help="of each training; fewer on a busy machine")
    parser.add_argument("--part", action="append", choices=[*AMIDST, *AFTER], help="one of several; all by default")
    options = parser.parse_args()
    given = options.part or [*AMIDST, *AFTER]
    parts = [part for part in given if options.storage == "postgresql" or not part.startswith("postgres")]
    with verdict(), opened_room(options.storage) as room:
        ada = room.person("ada", "user")
        claim(f"the service answers after {room.start():.1f} s", True)
        submitted = ada.submit(STUDY, BUDGET, recipe_json={"rungs": [options.steps], **TRAINING})
        claim(f"ada submits {STUDY}", submitted.status == 201, submitted.body)
        witness = Witness(room, ada, options.within)
        witness.further()
        for part in (part for part in parts if part in AMIDST):
            AMIDST[part](witness)
        end_of(witness)
        for part in (part for part in parts if part in AFTER):
            AFTER[part](witness)
    print("everything is so")


if __name__ == "__main__":
    main()
