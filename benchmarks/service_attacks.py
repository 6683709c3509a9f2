"""Attacks on a real service, one line each: what was tried, what was answered, and whether it held.

    python -m benchmarks.service_attacks [--only paths,slow]

Everything happens on loopback, against a service of its own. `secrets` runs a small search, so that there is a child
with a log; NAS_STORAGE gives that service a database whose URL holds a password.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping

from benchmarks.attacks.asking import Finding
from benchmarks.attacks.connections import bodies, crowd, slow, smuggling
from benchmarks.attacks.names import headers, paths, sql
from benchmarks.attacks.outside import secrets, webhooks
from benchmarks.attacks.people import brute_force, csrf, hosts, sessions
from benchmarks.service_process import DEFAULT_STORAGE, Served, serving
from nas.workspace import STORAGE_VARIABLE

Attack = Callable[[Served], Iterator[Finding]]
ATTACKS: Mapping[str, Attack] = {
    each.__name__: each
    for each in (paths, sql, bodies, sessions, csrf, webhooks, smuggling, headers, brute_force, slow, crowd)
}


def main() -> None:
    """Print a line for each attack, and end with 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", default="", help=f"Some of {', '.join([*ATTACKS, 'hosts', 'secrets'])}, by commas.")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(","))) or {*ATTACKS, "hosts", "secrets"}
    failed = 0
    for name in [name for name in ATTACKS if name in wanted]:
        with serving(["--requests-per-s", "1000"]) as served:
            failed += report(name, ATTACKS[name](served))
    if "hosts" in wanted:
        with serving(with_tokens=False) as served:
            failed += report("hosts", hosts(served))
    if "secrets" in wanted:
        with serving(storage=os.environ.get(STORAGE_VARIABLE, DEFAULT_STORAGE)) as served:
            failed += report("secrets", secrets(served))
    raise SystemExit(f"{failed} did not hold" if failed else 0)


def report(name: str, findings: Iterator[Finding]) -> int:
    """Print what was found; how many did not hold."""
    failed = 0
    for finding in findings:
        failed += not finding.holds
        print(f"{'held  ' if finding.holds else 'FAILED'} {name}: {finding.attack}: {finding.answer}", flush=True)
    return failed


if __name__ == "__main__":
    main()
