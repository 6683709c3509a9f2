"""Names of hosts, as they stand in addresses and headers of HTTP."""

import re
from ipaddress import ip_address

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[0-9A-Za-z.-]+))(?::[0-9]*)?")


def names_this_machine(authority: str) -> bool:
    """Whether a host, with any port, is a loopback name: localhost, or an address of 127.0.0.0/8 or ::1.

    Whoever can answer for such a name is on this machine. Source: RFC 6761, section 6.3; RFC 3986, section 3.2.
    """
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    if parts["name"] is not None and parts["name"].lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ip_address(parts["v6"] or parts["name"].removesuffix("."))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
