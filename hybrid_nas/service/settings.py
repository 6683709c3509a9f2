"""How a service was started."""

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from nas.errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options of `launch.py serve` say. Whoever submits a search cannot change any of it."""

    storage: str
    """URL of the database; it may hold a password."""
    artifacts: str | None = None
    """Folder of weights and drawings; None for the one beside the database."""
    folder: Path
    """Where the output of searches and uploaded recipes lie."""
    zoo: Path
    """Folder of the zoo that exports go to."""
    slots: int = 1
    """Searches that run at a time."""
    data_folders: tuple[Path, ...] = ()
    """Data of submissions lie below one of these."""
    own_spaces: bool = False
    """Whether users may name a space by a file or a module of this host."""
    notify_hosts: tuple[str, ...] = ()
    """Hosts that searches may tell what happens, by name; each must be at a public address."""
    ray_address: str | None = None
    """Ray cluster that every search uses; None lets each start its own."""
    requests_per_s: float = 50.0
    """Requests that one token may make for long; four times as many in a burst."""
    proxies: tuple[str, ...] = ()
    """Addresses and networks of reverse proxies: what they say of a request's origin is believed."""
    program: tuple[str, ...] = ()
    """Words that start launch.py: the interpreter and the file."""

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise InvalidInputError(f"--slots is {self.slots}; expected at least 1")
        if self.requests_per_s <= 0:
            raise InvalidInputError(f"--requests-per-s is {self.requests_per_s:g}; expected a positive number")
        for proxy in self.proxies:
            _check_network(proxy)


def _check_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise InvalidInputError(
            f"--proxy is {text!r}; expected the address of a proxy, or its network such as 10.0.0.0/24"
        ) from error
