"""The plain HTTP client: what it tells apart."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from objstore.testing.rawhttp import Broken, Connection, NotSent


class Server:
    """Answers each request with the next of `answers`; a None ends the connection without one."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield made
    listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Trans-Id: tx1\r\n\r\nhello"


async def test_a_connection_is_kept(server: Server) -> None:
    server.answers = [OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK]
    connection = Connection(server.url)
    answer = await connection.request("PUT", "/v1/a%20b", {"X-Key": "v"}, b"body")
    assert (answer.status, answer.headers["x-trans-id"], answer.body, answer.words) == (200, "tx1", b"hello", "200 tx1")
    assert server.requests[0].startswith(b"PUT /v1/a%20b HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Key: v\r\n" in server.requests[0] and server.requests[0].endswith(b"\r\n\r\nbody")
    assert (await connection.request("DELETE", "/", {})).body == b""
    assert (await connection.request("GET", "/", {})).body == b"hello"
    assert server.connections == 1
    connection.close()


async def test_a_head_has_a_length_and_no_body(server: Server) -> None:
    server.answers = [OK.removesuffix(b"hello"), OK]
    connection = Connection(server.url)
    assert (await connection.request("HEAD", "/", {})).headers["content-length"] == "5"
    assert (await connection.request("GET", "/", {})).body == b"hello"
    connection.close()


async def test_an_interim_answer_is_passed_over(server: Server) -> None:
    server.answers = [b"HTTP/1.1 100 Continue\r\n\r\n" + OK]
    assert (await Connection(server.url).request("PUT", "/", {}, b"x")).status == 200


async def test_a_connection_that_is_to_close_is_not_used_again(server: Server) -> None:
    server.answers = [OK.replace(b"X-Trans-Id: tx1", b"Connection: close"), OK]
    connection = Connection(server.url)
    for _ in range(2):
        assert (await connection.request("GET", "/", {})).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer", [None, b"", OK[:20], OK[:-1], b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"]
)
async def test_what_is_no_whole_answer_is_never_taken_for_one(server: Server, answer: bytes | None) -> None:
    """The request was sent once, and never again by itself."""
    server.answers = [answer, OK]
    connection = Connection(server.url)
    if answer not in (None, b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"):
        with pytest.raises(TimeoutError):
            await connection.request("PUT", "/", {}, timeout_s=0.05)
    else:
        with pytest.raises(Broken):
            await connection.request("PUT", "/", {})
    assert len(server.requests) == 1
    assert (await connection.request("PUT", "/", {})).status == 200, "the next one gets a new connection"
    assert (len(server.requests), server.connections) == (2, 2)


async def test_nobody_there() -> None:
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    with pytest.raises(NotSent, match=f"127.0.0.1:{port}: "):
        await Connection(f"http://127.0.0.1:{port}").request("GET", "/", {})
