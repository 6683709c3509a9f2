"""What is read as a plain request means to h11 the same; everything else is left to h11."""

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_nas.service.plain import LONGEST, plain_request

BROWSER = (
    b"GET /api/v1/studies/a%20b/trials?limit=50&sort=top1 HTTP/1.1\r\n"
    b"Host: 127.0.0.1:8000\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\n"
    b'If-None-Match: W/"0123456789abcdef"\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n'
    b"Cookie: nas_session=nas_0123; other=x\r\n\r\n"
)
PARTS = [
    *(b"GET ", b"GET", b"POST ", b"HEAD ", b" ", b"/", b"//", b"/%00", b"?", b"?a=%zz", b"#", b"*", b"http://x/"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 ", b"\r\n", b"\n", b"\r", b"\t", b"\0", b"\xe4", b":", b": ", b" : "),
    *(b"host: x", b"Host: y", b"a: b", b"a:b", b"a:", b"a: ", b"a:  b ", b"b: c\td", b" folded", b"\tfolded"),
    *(b"content-length: 0", b"content-length: 5", b"transfer-encoding: chunked", b"expect: 100-continue"),
    *(b"connection: close", b"connection: keep-alive", b"connection: Keep-Alive, close", b"upgrade: websocket"),
    *(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"x-\x80: y", b"(a): b", b"host : x"),
]
LINES = st.lists(st.sampled_from(PARTS), max_size=5).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
NEARLY = st.builds(
    lambda start, target, version, lines, end: start + target + version + b"\r\n" + lines + end,
    st.sampled_from([b"GET ", b"GET  ", b"get ", b"GET\t"]),
    st.sampled_from([b"/", b"/a?b=%41&c", b"/%C3%A4", b"/\xc3", b"*", b"/#f", b"//x/y", b""]),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2", b"  HTTP/1.1", b" http/1.1", b""]),
    LINES,
    st.sampled_from([b"\r\n", b"\n", b"", b"\r\nx", b"\r\n\r\n"]),
)
ANY = st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join)


def edited(request: bytes, place: int, change: bytes) -> bytes:
    place %= len(request)
    return request[:place] + change + request[place + 1 :]


EDITED = st.builds(edited, st.just(BROWSER), st.integers(0, 2_000), st.binary(max_size=3))


@given(st.one_of(NEARLY, ANY, EDITED))
@example(BROWSER)
@example(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n")
def test_what_is_plain_is_the_same_to_h11(data: bytes) -> None:
    found = plain_request(data)
    if found is None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert request.method == b"GET"
    assert request.target.partition(b"?")[2] == found.query
    assert list(request.headers) == found.headers
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    assert connection.they_are_waiting_for_100_continue is False
    connection.send(h11.Response(status_code=204, headers=[]))
    connection.send(h11.EndOfMessage())
    assert (connection.our_state, connection.their_state) == (h11.DONE, h11.DONE)  # and not MUST_CLOSE


def test_a_browser_sends_plain_requests() -> None:
    found = plain_request(BROWSER)
    assert found is not None
    assert found.path == "/api/v1/studies/a b/trials"
    assert found.query == b"limit=50&sort=top1"
    assert found.headers[1] == (b"connection", b"keep-alive")
    assert found.headers[-1] == (b"cookie", b"nas_session=nas_0123; other=x")


@pytest.mark.parametrize(
    "header",
    [
        b"host: again",
        b"connection: close",
        b"connection: upgrade",
        b"upgrade: h2c",
        b"expect: 100-continue",
        b"content-length: 3",
        b"transfer-encoding: chunked",
        b"folded: a\r\n b",
        b"empty:",
        b"x: " + b"x" * LONGEST,
    ],
)
def test_what_says_more_is_left(header: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\n"
    assert plain_request(head + b"\r\n") is not None
    assert plain_request(head + header + b"\r\n\r\n") is None


@pytest.mark.parametrize("behind", [b"x", b"\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_what_comes_with_more_is_left(behind: bytes) -> None:
    assert plain_request(BROWSER + behind) is None
    assert plain_request(BROWSER[: -len(b"\r\n")]) is None
