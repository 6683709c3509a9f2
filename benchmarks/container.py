"""The steps of Dockerfile and compose.yaml where no container daemon runs, and a search in what they make.

    sudo unshare --mount python -m benchmarks.container build FOLDER
    sudo unshare --mount --net --pid --fork --kill-child --mount-proc python -m benchmarks.container run FOLDER

`build` takes every step as it is written, with debootstrap in the place of the base image, in a root file system for
each stage. `run` starts a PostgreSQL of this machine and the service as compose.yaml says. They have a network and
processes of their own, so hosts and ports are those of compose.yaml, and nothing of it is left afterwards. Then it
waits for the health check, searches, kills the container in the midst of a search, and starts it again.
Needs root, debootstrap, PostgreSQL and 15 GB. A mirror of packages is named by --mount and --build-env.
"""

import argparse
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).resolve().parent.parent
NOISE = shutil.ignore_patterns("__pycache__")
SECRETS = Path("run/secrets")
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Step:
    """A RUN or COPY, and what the lines before it set."""

    word: str
    text: str
    environment: Mapping[str, str]
    user: str
    folder: str


@dataclass(frozen=True)
class Stage:
    """What a FROM begins, as it stands after its last line."""

    base: str
    name: str
    steps: tuple[Step, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    user: str = "root"
    folder: str = "/"
    settings: Mapping[str, str] = field(default_factory=dict)
    """HEALTHCHECK, ENTRYPOINT, CMD, VOLUME and EXPOSE, as they are written."""

    def words(self, name: str) -> list[str]:
        """The command of ENTRYPOINT, CMD or HEALTHCHECK."""
        found: list[str] = json.loads(self.settings[name][self.settings[name].index("[") :])
        return found


def instructions(text: str) -> list[tuple[str, str]]:
    """The words of a Dockerfile, each with what follows it, lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    found = [line.partition(" ") for line in whole.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in found]


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile.

    Raises:
        ValueError: if a word is none that is known here.
    """
    found: list[Stage] = []
    for word, rest in instructions(text):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name or str(len(found))))
        else:
            found[-1] = _after(found[-1], word, rest)
    return found


def _after(stage: Stage, word: str, rest: str) -> Stage:
    match word:
        case "RUN" | "COPY":
            step = Step(word, rest, stage.environment, stage.user, stage.folder)
            return replace(stage, steps=(*stage.steps, step))
        case "ENV":
            given = dict(each.split("=", 1) for each in shlex.split(rest))
            known = stage.environment
            values = {name: re.sub(r"\$(\w+)", lambda match: known[match[1]], value) for name, value in given.items()}
            return replace(stage, environment={**known, **values})
        case "USER":
            return replace(stage, user=rest)
        case "WORKDIR":
            return replace(stage, folder=rest)
        case "HEALTHCHECK" | "ENTRYPOINT" | "CMD" | "VOLUME" | "EXPOSE":
            return replace(stage, settings={**stage.settings, word: rest})
    raise ValueError(f"{word} is unknown here")


def chrooted(root: Path, words: Sequence[str], environment: Mapping[str, str], user: str, folder: str) -> list[str]:
    """The command line that runs words below a root."""
    home = "/root" if user == "root" else f"/home/{user}"
    given = [f"{name}={value}" for name, value in {"HOME": home, **environment}.items()]
    return ["chroot", f"--userspec={user}", str(root), "env", "-i", "-C", folder, *given, *words]


def mount(root: Path, mounts: Sequence[str]) -> None:
    """Devices and processes, and what is given as HOST:INSIDE, below a root, as long as this process lives."""
    subprocess.run(["mount", "--types=proc", "proc", root / "proc"], check=True)
    for outside, inside in [("/dev", "dev"), ("/sys", "sys"), *(each.split(":") for each in mounts)]:
        place = root / inside.lstrip("/")
        if Path(outside).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        subprocess.run(["mount", "--rbind", outside, place], check=True)


def build(folder: Path, mounts: Sequence[str], environment: Mapping[str, str]) -> None:
    """Take the steps of every stage that is not done, each in a folder of its name."""
    for stage in stages((HERE / "Dockerfile").read_text(encoding="utf-8")):
        root = folder / stage.name
        done = folder / f"{stage.name}.done"
        if done.exists():
            continue
        bootstrap(stage.base, root, folder)
        mount(root, mounts)
        for step in stage.steps:
            begun = time.monotonic()
            take(step, root, folder, environment)
            print(f"{stage.name}: {step.word} {step.text[:80]}: {time.monotonic() - begun:.0f} s", flush=True)
        done.touch()


def bootstrap(base: str, root: Path, folder: Path) -> None:
    """What stands for debian:RELEASE-slim, made once and copied."""
    release = re.fullmatch(r"debian:(\w+)-slim", base)
    assert release is not None, f"{base} is no base that debootstrap can make"
    clean = folder / f"debian-{release[1]}"
    if not clean.is_dir():
        subprocess.run(["debootstrap", "--variant=minbase", release[1], clean], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "--recursive", "--force", "--one-file-system", root], check=True)  # what was broken off
    subprocess.run(["cp", "--archive", clean, root], check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")


def take(step: Step, root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """One RUN or COPY."""
    place = root / step.folder.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    if step.word == "RUN":
        given = {**step.environment, **environment, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(chrooted(root, ["/bin/sh", "-c", step.text], given, step.user, step.folder), check=True)
        return
    *sources, goal = step.text.split()
    origin = HERE
    if sources[0].startswith("--from="):
        origin = folder / sources.pop(0).removeprefix("--from=")
    for source in sources:
        path = origin / source.lstrip("/")
        end = root / goal.lstrip("/") if goal.startswith("/") else place / goal
        if origin != HERE:
            subprocess.run(["cp", "--archive", "--link", "--no-target-directory", path, end], check=True)
        elif path.is_dir():
            shutil.copytree(path, end, ignore=NOISE, dirs_exist_ok=True)
        else:
            shutil.copy2(path, end)


class Container:
    """The service of compose.yaml in the root of the last stage."""

    def __init__(self, root: Path, stage: Stage, compose: Mapping[str, Any]) -> None:
        self._root = root
        self._stage = stage
        self._environment = {**stage.environment, **compose["services"]["service"]["environment"]}
        self.log = root.parent / "service.log"
        self.log.unlink(missing_ok=True)

    def start(self) -> None:
        """`docker compose up service`: process 1 of its own processes."""
        words = [*self._stage.words("ENTRYPOINT"), *self._stage.words("CMD")]
        inside = 'mount --types=proc proc "$0/proc" && exec "$@"'
        isolated = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", inside, str(self._root)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen([*isolated, *self._words(words)], stdout=log, stderr=log)

    def kill(self) -> None:
        """`docker kill`: every process of the container."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """`docker stop`."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        """Its first process is the child of what made its name space, and takes all others along."""
        [first] = psutil.Process(self._process.pid).children()
        first.send_signal(number)
        self._process.wait(timeout=60)

    def run(self, *words: str, **environment: str) -> str:
        """`docker compose exec service WORDS`: what it prints.

        Raises:
            subprocess.CalledProcessError: if it fails.
        """
        return subprocess.run(self._words(words, environment), check=True, stdout=subprocess.PIPE, text=True).stdout

    def wait(self) -> None:
        """Until the health check succeeds."""
        until = time.monotonic() + TIMEOUT_S
        check = self._words(self._stage.words("HEALTHCHECK"))
        while subprocess.run(check, stderr=subprocess.DEVNULL).returncode:
            assert time.monotonic() < until, "it did not become healthy"
            time.sleep(1.0)
        assert self._process.poll() is None, f"the service has ended: {self.log.read_text()}"

    def _words(self, words: Sequence[str], more: Mapping[str, str] | None = None) -> list[str]:
        given = {**self._environment, **(more or {})}
        return chrooted(self._root, words, given, self._stage.user, self._stage.folder)


@contextmanager
def postgres(folder: Path, password: Path) -> Iterator[None]:
    """The newest PostgreSQL of this machine, at the address, with the user and the database of compose.yaml."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    home = folder / "postgres"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    shutil.chown(home, "postgres")
    account = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initial = [binaries / "initdb", "--auth=scram-sha-256", "--username=nas", f"--pwfile={password}"]
    subprocess.run([*account, *initial, "-D", home / "data"], check=True, stdout=subprocess.DEVNULL)
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
    control = [*account, binaries / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "PGPASSWORD": password.read_text().strip()}
    create = ["createdb", "--host=127.0.0.1", "--username=nas", "--maintenance-db=postgres", "nas"]
    try:
        subprocess.run(create, check=True, env=environment)
        yield
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)


def run(folder: Path) -> None:
    """Start what compose.yaml says, search, kill and stop the container, and go on."""
    compose = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
    stage = stages((HERE / "Dockerfile").read_text(encoding="utf-8"))[-1]
    root = folder / stage.name
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mount(root, [])
    size = compose["services"]["service"]["shm_size"].removesuffix("b")
    subprocess.run(["mount", "--types=tmpfs", f"--options=size={size}", "tmpfs", root / "dev/shm"], check=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost postgres\n")
    (root / SECRETS).mkdir(parents=True, exist_ok=True)
    password = root / SECRETS / "database-password"
    password.write_text(f"{secrets.token_hex(8)}@:/% {secrets.token_hex(8)}\n")
    with postgres(folder, password):
        container = Container(root, stage, compose)
        try:
            search(container)
        finally:
            container.kill()
    found = subprocess.run(["grep", "--recursive", "--files-with-matches", password.read_text()[:16], root / "data"])
    assert found.returncode == 1, "the password of the database stands in a file"
    print("the password of the database stands in no file of the volume")


def search(container: Container) -> None:
    """What an administrator would do first, and what no one wishes to happen."""
    container.start()
    container.wait()
    print(f"healthy; it runs as {container.run('id').strip()}, with {container.run('python', '--version').strip()}")
    said = re.search(r"token of admin, shown once: (nas_\S+)", container.log.read_text())
    assert said is not None, "the log shows no token"
    ask = {"NAS_TOKEN": said[1], "NAS_SERVER": "http://127.0.0.1:8000"}
    print(container.run("hybrid-nas", "token", "add", "ada", "--role", "user")[:7] + "...: a token for ada")
    given = ["--space", "conv_only", "--objectives", "top1,macs", "--workers", "1"]
    print(container.run("hybrid-nas", "submit", *given, "--study", "first", "--budget", "2", "--watch", **ask))
    print(container.run("hybrid-nas", "export", "--study", "first", "--zoo", "zoo"))
    container.run("hybrid-nas", "submit", *given, "--study", "second", "--budget", "4", **ask)
    wait_until(lambda: evaluated(container, "second", ask) >= 1)
    container.kill()
    print("killed in the midst of a search, and started again")
    container.start()
    container.wait()
    wait_until(lambda: " running " in listed(container, "second", ask))
    container.stop()
    print("stopped in the midst of a search, and started again")
    container.start()
    container.wait()
    print(container.run("hybrid-nas", "watch", "second", **ask))
    assert container.log.read_text().count("shown once") == 1, "a token is printed once"
    print(container.run("hybrid-nas", "status", "--study", "second"))
    assert evaluated(container, "second", ask) == 4, "the budget is exact"


def listed(container: Container, study: str, ask: Mapping[str, str]) -> str:
    """The line of a study."""
    lines = container.run("hybrid-nas", "list", **ask).splitlines()
    return next(line for line in lines if line.startswith(f"{study} "))


def evaluated(container: Container, study: str, ask: Mapping[str, str]) -> int:
    """Architectures that a study has evaluated."""
    match = re.search(r" (\d+)/\d+", listed(container, study, ask))
    assert match is not None
    return int(match[1])


def wait_until(holds: Any) -> None:
    """Look until it holds."""
    until = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(1.0)


def main() -> None:
    """Build, or run what was built."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("what", choices=("build", "run"))
    parser.add_argument("folder", type=Path, help="Where the root file systems lie.")
    parser.add_argument("--mount", action="append", default=[], metavar="HOST:INSIDE", help="Seen by the steps.")
    parser.add_argument("--build-env", action="append", default=[], metavar="NAME=VALUE", help="Seen by every RUN.")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("needs root: it makes root file systems")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if options.what == "build":
        build(folder, options.mount, dict(each.split("=", 1) for each in options.build_env))
    else:
        run(folder)


if __name__ == "__main__":
    main()
