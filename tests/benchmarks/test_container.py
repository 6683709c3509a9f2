"""What Dockerfile, compose.yaml and .dockerignore promise; `python -m benchmarks.container` takes their steps."""

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.container import Stage, stages

ROOT = Path(__file__).resolve().parents[2]
PASSWORD_FILE = "/run/secrets/database-password"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def image() -> list[Stage]:
    return stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def steps(image: list[Stage], word: str) -> list[str]:
    """What follows every RUN or COPY."""
    every = itertools.chain.from_iterable(stage.steps for stage in image)
    return [step.text for step in every if step.word == word]


def sources(image: list[Stage]) -> set[str]:
    """What is copied from the checkout."""
    found: set[str] = set()
    for text in steps(image, "COPY"):
        if not text.startswith("--from="):
            found.update(text.split()[:-1])
    return found


def test_a_dockerfile_is_read_as_docker_does() -> None:
    first, last = stages(
        '# a comment\nFROM a AS one\nENV A=1 B="2 3"\nENV PATH=/x:$PATH\n# another\nRUN x \\\n    && y\nWORKDIR /w\n'
        'FROM b\nUSER u\nCOPY --from=one /p /q\nCMD ["c", "d e"]\n'
    )
    assert (first.base, first.name, last.name) == ("a", "one", "1")
    [step] = first.steps
    assert (step.text, step.folder, step.environment["B"]) == ("x && y", "/", "2 3")
    assert step.environment["PATH"].startswith("/x:/usr/sbin:") and first.folder == "/w"
    assert (last.user, last.steps[0].user, last.words("CMD")) == ("u", "u", ["c", "d e"])
    with pytest.raises(ValueError, match="ONBUILD is unknown here"):
        stages("FROM a\nONBUILD RUN x")


def test_the_image_is_pinned_and_runs_as_nobody_special(image: list[Stage]) -> None:
    installs = [text for text in steps(image, "RUN") if "pip install" in text]
    assert installs and all("-c requirements.lock" in text or "--no-deps" in text for text in installs)
    last = image[-1]
    assert last.user == "nas"
    assert last.words("ENTRYPOINT") == ["tini", "--", "hybrid-nas"], "process 1 reaps what searches leave behind"
    assert last.words("CMD")[:5] == ["serve", "--host", "0.0.0.0", "--first-token", "admin"]
    assert "/api/v1/health" in " ".join(last.words("HEALTHCHECK"))
    assert last.settings["VOLUME"] == last.folder


def test_what_is_copied_is_all_that_docker_sees(image: list[Stage]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing by default: neither results nor secrets"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == sources(image)
    assert all((ROOT / source).exists() for source in sources(image))


def test_every_package_is_copied(image: list[Stage]) -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= sources(image)


def test_the_service_is_published_on_loopback_only(compose: Any) -> None:
    service, postgres = compose["services"]["service"], compose["services"]["postgres"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert "ports" not in postgres and postgres["networks"] == ["database"]
    assert compose["networks"]["database"]["internal"] is True
    assert service["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "--host=127.0.0.1" in postgres["healthcheck"]["test"], "during initdb there is a socket only"
    assert int(postgres["image"].partition(":")[2].partition("-")[0]) >= 15


def test_the_password_is_a_file_that_is_in_no_image_and_no_commit(compose: Any) -> None:
    service, postgres = compose["services"]["service"], compose["services"]["postgres"]
    assert service["environment"]["NAS_STORAGE_PASSWORD_FILE"] == PASSWORD_FILE
    assert postgres["environment"]["POSTGRES_PASSWORD_FILE"] == PASSWORD_FILE
    assert service["secrets"] == postgres["secrets"] == [*compose["secrets"]]
    file = compose["secrets"]["database-password"]["file"]
    assert subprocess.run(["git", "check-ignore", "--quiet", file], cwd=ROOT).returncode == 0


def test_every_volume_and_network_is_declared(compose: Any) -> None:
    for service in compose["services"].values():
        named = {each.partition(":")[0] for each in service["volumes"] if not each.startswith((".", "/"))}
        assert named <= set(compose["volumes"])
        assert set(service["networks"]) - {"default"} <= set(compose["networks"])
