"""schemathesis against the OpenAPI document of a real service: as each role, and with names that exist.

    python -m benchmarks.service_fuzz [--examples 50] [--environments ~/.cache/hybrid-nas/peers]

schemathesis is installed into an environment of its own. All of its checks are on. Streams of events never end, so
`benchmarks.service_attacks` asks for them instead. Each case comes from another address, as a proxy would say it: the
service slows down an address that tries wrong tokens.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.peers.environments import environment
from benchmarks.service_process import ENTRY, ROLES, STUDY, Served, serving

CONFIG = """
max-failures = 40
continue-on-failure = true
request-timeout = 300.0

[output.sanitization]
enabled = true

[auth.openapi.HTTPBearer]
bearer = "${NAS_TOKEN}"

[checks]
# What the document cannot say is refused with 422: which names are known, and what fits together.
positive_data_acceptance.expected-statuses = ["2XX", 400, 401, 403, 404, 409, 422]

[[operations]]
include-path = "/api/v1/studies/{name}/events"
enabled = false
"""
KNOWN = f"""
[parameters]
"path.name" = "{STUDY}"
"path.number" = 1
"path.key" = "none"
"""
KNOWN_ENTRY = f"""
[[operations]]
include-path-regex = "/zoo/"
parameters = {{ "path.name" = "{ENTRY}" }}
"""
HOOKS = """
import random

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    case.headers["X-Forwarded-For"] = ".".join(str(random.randrange(1, 255)) for _ in range(4))
"""


def main() -> None:
    """Print what schemathesis says, and end with 1 where it found anything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--examples", type=int, default=50, help="For each route, role and way to name things.")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "hybrid-nas" / "peers")
    options = parser.parse_args()
    python = environment("schemathesis", options.environments)
    failed = []
    for role in ROLES:
        for names, config in (("any names", CONFIG), ("known names", CONFIG + KNOWN_ENTRY + KNOWN)):
            with serving(["--requests-per-s", "10000", "--proxy", "127.0.0.1"]) as served:
                print(f"\n--- {role}, {names}", flush=True)
                if fuzz(python, served, role, config, options.examples):
                    failed.append(f"{role}, {names}")
    raise SystemExit(f"failed: {'; '.join(failed)}" if failed else 0)


def fuzz(python: Path, served: Served, role: str, config: str, examples: int) -> int:
    """The exit code of schemathesis."""
    with tempfile.TemporaryDirectory(prefix="nas-fuzz-") as name:
        folder = Path(name)
        (folder / "schemathesis.toml").write_text(config, encoding="utf-8")
        (folder / "hooks.py").write_text(HOOKS, encoding="utf-8")
        address = f"http://127.0.0.1:{served.port}/api/v1/openapi.json"
        command = [python, "-m", "schemathesis.cli", "--no-color", "run", address]
        command += ["--max-examples", str(examples), "--suppress-health-check", "all", "--seed", "0"]
        surroundings = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": name,
            "NAS_TOKEN": served.tokens[role],
        }
        return subprocess.run(command, cwd=folder, env=surroundings).returncode


if __name__ == "__main__":
    main()
