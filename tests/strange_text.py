"""Strange paths, names and URLs over all commands: each works, or is one line; nothing is left where nothing was asked.

    python -m tests.strange_text --seed 1 --count 200

prints one line for each that is neither, and ends with exit code 1 if there is one. A case is drawn by its kind: a
command with a free place, and a text for that place.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np

from db.store import open_store
from tests.samples import TRIALS, latest_front, study_record

LIMIT_S = 60.0
SECRET = "s3cret"
KNOWN = "sqlite:///{work}/known.db"
SEARCH = ("--space", "no_such_space", "--budget", "1")
COMMANDS = {
    "url": [
        ("status", "--storage", "{}"),
        ("status", "--study", "sample", "--storage", "{}"),
        ("pareto", "--storage", "{}"),
        ("explain", "--storage", "{}"),
        ("dashboard", "--port", "-1", "--storage", "{}"),
        ("finalize", "--storage", "{}"),
        ("audit", "--storage", "{}"),
        ("export", "--storage", "{}"),
        ("profile", "--storage", "{}"),
        (*SEARCH, "--storage", "{}"),
    ],
    "file": [
        ("pareto", "--storage", KNOWN, "--json", "{}.json"),
        ("pareto", "--storage", KNOWN, "--csv", "{}.csv"),
        ("pareto", "--storage", KNOWN, "--html", "{}.html"),
        ("pareto", "--storage", KNOWN, "--plot", "{}.svg"),
        ("pareto", "--storage", KNOWN, "--json", "{}"),
        ("explain", "--storage", KNOWN, "--html", "{}.html"),
        ("audit", "--storage", KNOWN, "--json", "{}"),
        ("audit", "--storage", KNOWN, "--recipe", "{}.json"),
        ("finalize", "--storage", KNOWN, "--recipe", "{}.json"),
        ("bench", "--problem", "macro", "--json", "{}"),
        ("import-weights", "{}", "--preset", "groupmixformer_tiny"),
        ("import-weights", "{}.safetensors", "--preset", "groupmixformer_tiny"),
        ("pack", "folder:{work}/folder", "{}.beton"),
        ("spaces", "--space", "{}.py"),
        (*SEARCH, "--recipe", "{}.json"),
        (*SEARCH, "--data", "beton:{}"),
        ("status", "--storage", "sqlite:///{}"),
    ],
    "folder": [
        ("bench", "--problem", "macro", "--data", "{}"),
        ("spaces", "--data", "folder:{}"),
        ("spaces", "--data", "cifar10:{}"),
        ("pack", "folder:{}", "{work}/x.beton"),
        ("pack", "cifar100:{}", "{work}/x.beton"),
        ("dashboard", "--port", "-1", "--storage", KNOWN, "--artifacts", "{}"),
        ("export", "--storage", KNOWN, "--artifacts", "{}"),
        ("export", "--storage", KNOWN, "--zoo", "{}"),
        ("import-weights", "{work}/file", "--preset", "groupmixformer_tiny", "--zoo", "{}"),
        (*SEARCH, "--artifacts", "{}"),
    ],
    "name": [
        ("status", "--storage", KNOWN, "--study", "{}"),
        ("export", "--storage", KNOWN, "--name", "{}"),
        ("export", "--storage", KNOWN, "--pick", "{}"),
        ("profile", "--storage", KNOWN, "--trials", "{}"),
        ("profile", "--storage", KNOWN, "--latency-target", "{}"),
        ("pareto", "--storage", KNOWN, "--latency-target", "{}"),
        ("import-weights", "{work}/file", "--preset", "{}"),
        ("bench", "--problem", "{}"),
        ("bench", "--problem", "macro", "--sampler", "{}"),
        ("spaces", "--space", "{}"),
        ("spaces", "--scale", "{}"),
        ("spaces", "--data", "{}"),
        (*SEARCH, "--study", "{}"),
        (*SEARCH, "--warm-start", "study:{}"),
        (*SEARCH, "--objectives", "{}"),
        (*SEARCH, "--latency-target", "{}"),
        ("{}",),
    ],
}
"""Kind of text -> commands with a place for one. {work} is the folder with strange things."""
SIGNS = [
    *(
        " ",
        "  x",
        "x ",
        "'",
        '"',
        "\\",
        "`",
        "$HOME",
        "$(x)",
        "*",
        "?",
        "#",
        "%",
        "%41",
        "%zz",
        "&",
        ";",
        "|",
        "!",
        "@",
    ),
    *(":", "=", ",", "<b>", "[x]", "{x}", "-", "--", "-x", "--help=", "~", "~~", "\n", "\r", "\t", "\x1b[2J", "\x07"),
    *("\x7f", "\u202e", "\u200f", "\ufeff", "\u2028", "é", "e\u0301", "数", "𝔘", "👩‍💻", "\udcff", "\udc80x", "\ud800"),
    *("nan", "inf", "-1", "0", "1e999", "9" * 400, "x" * 300, "None", "con", "index.json"),
]


@dataclass(frozen=True)
class Case:
    """A command line, and the variables that it finds."""

    words: list[str]
    asked_for: str
    """The text in the free place: a file of this name may appear."""
    variables: dict[str, str] = field(default_factory=dict)


def make_work(folder: Path) -> None:
    """Things of all kinds: a database, folders, files, links, a pipe, a socket."""
    with contextlib.closing(open_store(f"sqlite:///{folder}/known.db")) as store:
        store.create_study(study_record())
        for trial in TRIALS:
            store.record("sample", trial, latest_front() if trial is TRIALS[-1] else None)
    for suffix in ("", ".json", ".py", ".safetensors", ".beton", ".csv"):
        (folder / f"file{suffix}").write_bytes(b"\xff\x00 no text\n")
        (folder / f"empty{suffix}").touch()
        (folder / f"folder{suffix}").mkdir()
        (folder / f"dangling{suffix}").symlink_to(folder / "gone")
        (folder / f"circle{suffix}").symlink_to(folder / f"circle{suffix}")
        os.mkfifo(folder / f"pipe{suffix}")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / f"socket{suffix}"))
    (folder / "home").mkdir()
    (folder / os.fsdecode(b"folder\xff")).mkdir()


def strange_path(rng: np.random.Generator, work: Path) -> str:
    """What is there and is not what is expected, what cannot be there, and what may be."""
    there = ("file", "empty", "folder", "dangling", "circle", "pipe", "socket", os.fsdecode(b"folder\xff"), "home")
    devices = ("/dev/null", "/dev/full", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc/self/fd/99", "/dev/tty")
    kinds = [
        lambda: f"{work}/{rng.choice(there)}",
        lambda: str(rng.choice(there)),
        lambda: f"{work}/{rng.choice(there)}/x",
        lambda: f"{rng.choice(there)}/",
        lambda: str(rng.choice(devices)),
        lambda: str(rng.choice(["", ".", "..", "/", "//", "./", "~", "~/", "~/x", "~no-such-user", "~no-such-user/x"])),
        lambda: f"{work}/{strange_name(rng).replace('/', '')}",
        lambda: strange_name(rng),
        lambda: "x/" * int(rng.integers(100, 3000)) + "x",
        lambda: f"no/such/{strange_name(rng)}/folder",
    ]
    return kinds[rng.integers(len(kinds))]()


def strange_name(rng: np.random.Generator) -> str:
    """One to four strange signs, perhaps between plain ones."""
    signs = [SIGNS[index] for index in rng.integers(len(SIGNS), size=rng.integers(1, 4))]
    return str(rng.choice(["", "a", "sample"])) + "".join(signs) + str(rng.choice(["", "b"]))


def strange_url(rng: np.random.Generator, work: Path) -> str:
    """A database URL of which a part, or all, is wrong."""
    schemes = [
        *("sqlite", "sqlite+pysqlite", "sqlite+aiosqlite", "sqlite+", "postgresql", "postgresql+psycopg", "postgres"),
        *(
            "postgresql+psycopg2",
            "postgresql+asyncpg",
            "postgresql+nothing",
            "mysql",
            "oracle+x",
            "http",
            "file",
            "",
            "é",
        ),
    ]
    users = [
        "",
        "ada@",
        f"ada:{SECRET}@",
        f"ada:{SECRET}@{SECRET}@",
        f"ada:{SECRET}/x#?%@",
        f":{SECRET}@",
        f"a:{SECRET}%zz@",
    ]
    hosts = [
        "",
        "127.0.0.1:1",
        "127.0.0.1:0",
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "[::1",
        "[::1]:1",
        "no-host.invalid",
        "@",
    ]
    queries = ["", "?", "?x=y", "?sslmode=strange", "?connect_timeout=x", "?host=/gone", "?mode=memory&uri=true", "#x"]
    names = ["", ":memory:", "file:x", "x%00y", "n" * 300, strange_name(rng), strange_path(rng, work)]
    if rng.random() < 0.2:
        whole = [
            "",
            ":",
            "://",
            "sqlite",
            "sqlite:",
            "sqlite:/",
            "sqlite://",
            "sqlite:///",
            "sqlite:////",
            "sqlite://///",
        ]
        return str(rng.choice(whole))
    if rng.random() < 0.4:
        return f"sqlite:///{strange_path(rng, work)}"
    user, host, query = (str(rng.choice(each)) for each in (users, hosts, queries))
    name = names[rng.integers(len(names))]
    return f"{rng.choice(schemes)}://{user}{host}/{name}{query}"


def draw(seed: int, count: int, work: Path) -> list[Case]:
    """Cases, the same for the same seed; every command comes before any comes again."""
    rng = np.random.default_rng(seed)
    places = [(kind, command) for kind, commands in COMMANDS.items() for command in commands]
    cases: list[Case] = []
    while len(cases) < count:
        for index in rng.permutation(len(places)):
            kind, command = places[index]
            makers = {"url": strange_url, "file": strange_path, "folder": strange_path}
            text = makers[kind](rng, work) if kind in makers else strange_name(rng)
            words = [word.replace("{work}", str(work)).replace("{}", text) for word in command]
            if kind == "url" and rng.random() < 0.2:  # the variable holds it instead
                del words[words.index("--storage") :]
                cases.append(Case(words, text, {"NAS_STORAGE": text.replace("\0", "")}))
            else:
                cases.append(Case(words, text))
    return cases[:count]


def listing(work: Path) -> set[str]:
    """Every file of the folder, and of places where a text might lead."""
    inside = {os.path.join(folder, name) for folder, folders, files in os.walk(work) for name in (*folders, *files)}
    return inside | {os.path.join("/dev", name) for name in os.listdir("/dev")}


def run_case(case: Case, work: Path) -> tuple[int, str]:
    """Exit code (or -1 where it took too long) and all that was printed, by a child of this process."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _run_in_child(case, work, output.fileno())
        deadline = time.monotonic() + LIMIT_S
        status = None
        while status is None and time.monotonic() < deadline:
            found, ended = os.waitpid(child, os.WNOHANG)
            status = os.waitstatus_to_exitcode(ended) if found else None
            time.sleep(0.01)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        output.seek(0)
        return -1 if status is None else status, output.read().decode()


def _run_in_child(case: Case, work: Path, output: int) -> None:
    import launch

    code = 70
    try:
        os.chdir(work)
        os.environ.pop("NAS_STORAGE", None)
        os.environ.update(case.variables, HOME=str(work / "home"), MPLCONFIGDIR=tempfile.gettempdir())
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.argv = ["launch.py", *case.words]
        try:
            launch.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def faults(case: Case, code: int, printed: str, new: set[str]) -> list[str]:
    """What is wrong with the end of a case; nothing where it worked or was one line."""
    found = []
    if code not in (0, 1, 2):
        found.append(f"exit code {code}")
    if "Traceback" in printed or "this is a fault of ours" in printed:
        found.append("a traceback")
    if code == 2 and not re.fullmatch(r"error: [^\n]+\n", printed):
        found.append("not one line")
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", printed):
        found.append("a sign that steers a terminal")
    if any("NAS_STORAGE" in word or "--storage" in word for word in (*case.words, *case.variables)):
        password = re.search(rf":[^:/@]*{SECRET}[^@]*@", case.asked_for)
        if password is not None and SECRET in printed:
            found.append("the password")
    asked = case.asked_for.rstrip("/").split("/")[-1]
    left = [name for name in new if code != 0 or not asked or asked not in name]
    if left:
        found.append(f"left {sorted(left)[:3]}")
    return found


def preload() -> None:
    """Import once what every child would import for itself."""
    for module in ("launch", "workers.export", "workers.finalize", "workers.audit", "search_spaces.zoo.import_weights"):
        import_module(module)
    with contextlib.suppress(ImportError):
        import_module("ffcv")


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder with strange things, for the time of the block."""
    work = Path(tempfile.mkdtemp(prefix="strange-"))
    try:
        make_work(work)
        yield work
    finally:
        shutil.rmtree(work)


def report(seed: int, count: int) -> list[str]:
    """One line for each case that neither works nor is one line."""
    lines = []
    preload()
    with work_folder() as work:
        before = listing(work)
        for number, case in enumerate(draw(seed, count, work)):
            code, printed = run_case(case, work)
            after = listing(work)
            for fault in faults(case, code, printed, after - before):
                lines.append(f"{number}: {case.words!a} {case.variables!a}: {fault}: {printed[-300:]!a}")
                print(lines[-1], flush=True)
            before = after
    return lines


def main() -> int:
    """Run the cases of the command line; 1 if any has a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    lines = report(given.seed, given.count)
    print(f"{given.count} cases of seed {given.seed}: {len(lines)} faults")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
