"""Three people and an administrator at one service, as they would act: who waits for whom, who may what, what they get.

    python -m benchmarks.service_users [--storage sqlite|postgresql]

Starts a service with one slot over a database of its own, submits short searches, and prints one line for everything
that is so. Ends with 1 at the first thing that is not. It takes about three minutes.
"""

import argparse
import hashlib
import io
import json
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchmarks.service_room import STORAGES, Person, Room, claim, claim_whole, opened_room, until, verdict
from db.store import open_store
from search_spaces.build import build_model
from tests.bare_site import bare_site, run_bare

FIRST = 24
"""Budget of the search that is stopped in its midst."""
SHORT = 3
LOAD = """
import importlib, json, pathlib, sys

for ours in ("hybrid_nas", "search_spaces", "nas", "workers", "db", "ray", "optuna"):
    try:
        __import__(ours)
    except ImportError:
        continue
    sys.exit(f"{ours} can be imported here")
import timm, torch

folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder))
config = json.loads((folder / "config.json").read_text())
importlib.import_module(config["architecture"])
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
images = torch.rand(4, *config["pretrained_cfg"]["input_size"], generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    print(json.dumps(model(images).tolist()))
"""
"""Loads an entry where nothing of ours is; prints its logits for images of one seed."""


@dataclass(frozen=True, slots=True)
class People:
    """Who uses the service."""

    ada: Person
    bob: Person
    eve: Person
    """A viewer."""
    root: Person
    """The administrator."""


def submissions(room: Room, people: People) -> None:
    """Two searches of Ada's and one of Bob's, from a terminal and over HTTP; the viewer gets none."""
    words = ("submit", "--space", "conv_only", "--objectives", "top1,macs", "--workers", "1", "--recipe", "recipe.json")
    first = room.launch(*words, "--study", "a1", "--budget", str(FIRST), person=people.ada)
    claim("ada submits a1 from a terminal", first.returncode == 0, first.stderr)
    second = people.ada.submit("a2", SHORT)
    claim("ada submits a2", second.status == 201, second.body)
    refused = people.eve.submit("e1", SHORT)
    claim("a viewer may not submit: 403", refused.status == 403, refused.body)
    print(f"        {refused.error['message']}")
    typed = room.launch(*words, "--study", "e1", "--budget", str(SHORT), person=people.eve)
    claim("nor from a terminal: one line, exit code 2", typed.returncode == 2 and typed.stderr.count("\n") == 1, typed)
    claim("and nothing was queued", people.root.study("e1") == {})
    third = people.bob.submit("b1", SHORT)
    claim("bob submits b1", third.status == 201, third.body)
    until("a1 runs", lambda: people.eve.study("a1").get("state") == "running")
    places = [people.eve.study(name)["position"] for name in ("b1", "a2")]
    claim("owners take turns: b1 is next, a2 after it", places == [1, 2], places)


def stops(room: Room, people: People) -> dict[str, str]:
    """Nobody but owner and administrator may touch a1. Gives when each search began."""
    until("a1 has evaluated something", lambda: people.eve.study("a1").get("evaluated", 0) >= 1)
    for verb, body in (("stop", None), ("continue", None), ("extend", {"budget": 99}), ("exports", {"pick": "knee"})):
        refused = people.bob.order("a1", verb, body)
        claim(f"bob may not {verb} ada's a1: 403", refused.status == 403, refused.body)
    deleted = people.bob.client.ask("DELETE", "/studies/a1?confirm=a1")
    claim("bob may not delete it: 403", deleted.status == 403, deleted.body)
    began = {"a1": people.eve.study("a1")["started"]}
    allowed = people.root.order("a1", "stop")
    claim("an administrator may stop it: 202", allowed.status == 202, allowed.body)
    until("a1 has stopped", lambda: people.eve.study("a1").get("state") == "stopped")
    evaluated = people.eve.study("a1")["evaluated"]
    claim(f"a1 stopped in its midst, after {evaluated} of {FIRST}", 1 <= evaluated < FIRST, evaluated)
    typed = room.launch("stop", "a1", person=people.bob)
    claim("bob may not stop it from a terminal either: exit code 2", typed.returncode == 2, typed)
    print(f"        {typed.stderr.strip()}")
    return began


def turns(people: People, began: dict[str, str]) -> None:
    """The one slot went to Bob before it went to Ada again; then a1 goes on."""
    until("b1 runs", lambda: people.eve.study("b1").get("state") == "running")
    claim("b1 runs and a2 waits", people.eve.study("a2")["state"] == "queued")
    going_on = people.ada.order("a1", "continue")
    claim("ada continues a1: 202", going_on.status == 202, going_on.body)
    for name in ("b1", "a2", "a1"):
        until(f"{name} has ended", lambda name=name: people.eve.study(name).get("state") in ("finished", "failed"))
        found = people.eve.study(name)
        claim(f"{name} has finished: {found['exit_line']}", found["state"] == "finished", found)
    began |= {name: people.eve.study(name)["started"] for name in ("b1", "a2")}
    order = sorted(began, key=began.__getitem__)
    claim(f"they began in the order {', '.join(order)}", order == ["a1", "b1", "a2"], began)


def budgets(room: Room, people: People) -> None:
    """Every budget is exact, an extended one, too."""
    larger = people.bob.order("b1", "extend", {"budget": SHORT + 1})
    claim("bob extends b1: 202", larger.status == 202, larger.body)
    until("b1 has finished again", lambda: people.eve.study("b1").get("evaluated") == SHORT + 1)
    until("b1 has ended", lambda: people.eve.study("b1").get("state") == "finished")
    for name, budget in (("a1", FIRST), ("a2", SHORT), ("b1", SHORT + 1)):
        claim_whole(room, name, budget)


def exports(room: Room, people: People) -> None:
    """What was found leaves the house in two ways, and plain timm loads both."""
    site = bare_site(room.folder / "site", "torch", "timm")
    (room.folder / "load.py").write_text(LOAD)
    for person, study in ((people.ada, "a1"), (people.bob, "b1")):
        name = f"{study}-best"
        job = exported(person, study, name)
        trial = int(people.eve.client.get(f"/zoo/{name}").json["metrics"]["trial"])
        claim(f"{person.name} exports trial {trial} as {name}, by a job", job["entry"] == name, job)
        downloaded = unpacked(people.eve, name, room.folder / "downloaded")
        fetched = room.launch("fetch", name, "--zoo", "fetched", person=people.eve)
        claim(f"a viewer fetches {name} from a terminal", fetched.returncode == 0, fetched.stderr)
        same = sums(room.folder / "fetched" / name) == sums(downloaded)
        claim("the fetched files are those of the download, byte for byte", same)
        loaded = run_bare(site, room.folder / "load.py", str(downloaded))
        claim("timm alone loads it, where nothing of ours is installed", loaded.returncode == 0, loaded.stderr)
        logits = torch.tensor(json.loads(loaded.stdout))
        claim(f"its logits {list(logits.shape)} are finite", torch.isfinite(logits).all(), logits)
        difference = float((logits - own_logits(room, study, trial, downloaded)).abs().max())
        claim(f"they differ from those of our own code by {difference:.1e} at most", difference < 1e-5)


def exported(person: Person, study: str, name: str) -> Any:
    """The job of an export, once it has ended."""
    answer = person.order(study, "exports", {"pick": "accuracy", "name": name})
    claim(f"{person.name} asks for an export of {study}: 202", answer.status == 202, answer.body)
    path = f"/jobs/{answer.json['id']}"
    until("the export has ended", lambda: person.client.get(path).json["state"] in ("finished", "failed"))
    return person.client.get(path).json


def unpacked(person: Person, name: str, folder: Path) -> Path:
    """An entry that was downloaded as a zip."""
    answer = person.client.get(f"/zoo/{name}/download")
    kind = answer.headers["content-type"]
    claim(f"a viewer downloads {name}: {len(answer.body):,} bytes of {kind}", answer.status == 200, answer.body)
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        archive.extractall(folder)
    return folder / name


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def own_logits(room: Room, study: str, trial: int, entry: Path) -> torch.Tensor:
    """What this project computes with the recorded spec of a trial and the weights of its entry."""
    with closing(open_store(room.storage, create=False)) as store:
        [spec] = [each.spec for each in store.facts(study) if each.trial_number == trial]
    model = build_model(spec)
    model.load_state_dict(safetensors.torch.load_file(entry / "model.safetensors"))
    shape = (spec["in_chans"], spec["image_size"], spec["image_size"])
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.eval()(images)


def main() -> None:
    """Act, and print what is so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    options = parser.parse_args()
    with verdict(), opened_room(options.storage) as room:
        roles = {"ada": "user", "bob": "user", "eve": "viewer", "root": "admin"}
        people = People(**{name: room.person(name, role) for name, role in roles.items()})
        claim(f"the service answers after {room.start():.1f} s", True)
        submissions(room, people)
        began = stops(room, people)
        turns(people, began)
        budgets(room, people)
        exports(room, people)
    print("everything is so")


if __name__ == "__main__":
    main()
