"""Which names are of this machine."""

import pytest

from nas.hosts import names_this_machine


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "localhost:9000",
            "LocalHost:1",
            "localhost.:9000",
            "127.0.0.1:18080",
            "127.8.9.1",
            "127.0.0.1.",
        ),
        *("[::1]", "[::1]:18080", "[0:0:0:0:0:0:0:1]:80", "[::ffff:127.0.0.1]:80"),
    ],
)
def test_a_loopback_name_is_answered_on_any_port(host: str) -> None:
    assert names_this_machine(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", ":80", "rebound.example", "127.0.0.1.evil.com", "localhost.evil.com", "evil.com:127", "localhost..", "."),
        *("evil@localhost", "localhost/evil.com", "localhost,evil.com", "localhost:80:80", "localhost:x", "localhost "),
        *(
            "128.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "::1",
            "[::1",
            "[::1%lo]",
            "[evil]",
        ),
        "127.0.0.\u0661",
    ],
)
def test_every_other_name_is_foreign(host: str) -> None:
    assert not names_this_machine(host)
