"""Connections over real sockets: slow, endless, broken and closed ones."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest

from reelgrid.api import connection, middleware
from reelgrid.api.app import create_app
from reelgrid.cli import http_server
from reelgrid.cli.http_server import Server, listen
from tests.api.conftest import ApiServer

Talk = Callable[["Line"], Awaitable[None]]
POST = b"POST /v1/videos HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
GET = b"GET /v1/videos HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
ENOUGH_S = 60.0


class Line:
    """Opens connections to the server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._address, limit=2**20)
        self._writers.append(writer)
        writer.write(data)
        return reader, writer

    async def ask(self, data: bytes) -> bytes:
        """Return the first response."""
        return await answer_of((await self.send(data))[0])


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of the connection, and return whether nothing was received."""
    async with asyncio.timeout(ENOUGH_S):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(ENOUGH_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return head + await reader.readexactly(int(length or 0))


def serving(api: ApiServer, talk: Talk, at_the_end: Sequence[Awaitable[bytes]] = ()) -> None:
    """Serve while a client talks; some responses come only when the server stops."""

    async def main() -> None:
        with listen("127.0.0.1", 0) as listening:
            server = Server(api.service, create_app(api.service))
            running = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                line = Line(listening.getsockname()[:2])
                await talk(line)
            finally:
                server.should_exit = True
                await running
                await asyncio.gather(*at_the_end)
                await line.close()

    asyncio.run(main())


def test_a_request_head_that_does_not_end_closes_the_connection_and_an_idle_one_stays(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)

    async def talk(line: Line) -> None:
        kept, writer = await line.send(GET)
        assert (await answer_of(kept)).startswith(b"HTTP/1.1 200")
        slow = [await line.send(GET[:-4]) for _ in range(50)]
        silent, _ = await line.send(b"")
        for reader in [silent, *(reader for reader, _ in slow)]:
            assert await is_cut_off(reader)
        writer.write(GET)
        assert (await answer_of(kept)).startswith(b"HTTP/1.1 200")
        writer.write(GET[:9])
        assert await is_cut_off(kept)

    serving(api, talk)


def test_a_head_that_arrives_byte_by_byte_is_cut_off_too(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)

    async def talk(line: Line) -> None:
        reader, writer = await line.send(b"GET /health HTTP/1.1\r\n")
        ending = asyncio.create_task(is_cut_off(reader))
        while not ending.done():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.02)
        assert await ending

    serving(api, talk)


def test_a_body_that_does_not_end_is_408_and_makes_no_job(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BODY_S", 0.3)

    async def talk(line: Line) -> None:
        chunked = POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
        for data in (chunked, POST + b"content-length: 99\r\n\r\n{"):
            answer = await line.ask(data)
            assert answer.startswith(b"HTTP/1.1 408"), answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_slow"

    serving(api, talk)
    assert api.job_queue.list().jobs == ()


def test_a_stream_of_events_outlives_the_time_for_bodies(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "BODY_S", 0.2)

    async def talk(line: Line) -> None:
        made = await line.ask(POST + b'content-length: 14\r\n\r\n{"prompt":"x"}')
        job = json.loads(made.partition(b"\r\n\r\n")[2])["id"]
        reader, _ = await line.send(GET.replace(b"videos", f"videos/{job}/events".encode()))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(api.worker.work_off)
        async with asyncio.timeout(ENOUGH_S):
            assert b'"status": "completed"' in await reader.readuntil(b'"completed"')

    serving(api, talk)


def test_a_server_that_stops_answers_clients_that_are_still_sending(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "_SHUTDOWN_S", 1)
    asking: list[asyncio.Task[bytes]] = []

    async def talk(line: Line) -> None:
        asking.append(asyncio.create_task(line.ask(POST + b"content-length: 99\r\n\r\n{")))
        assert (await line.ask(GET)).startswith(b"HTTP/1.1 200")

    serving(api, talk, asking)
    answer = asking[0].result()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "stopping"
    assert "Traceback" not in caplog.text


def test_a_client_that_disconnects_within_its_body_is_not_an_error(
    api: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(line: Line) -> None:
        _, writer = await line.send(POST + b"content-length: 99\r\n\r\n{")
        writer.close()
        await writer.wait_closed()
        assert (await line.ask(GET)).startswith(b"HTTP/1.1 200")

    with caplog.at_level(logging.INFO):
        serving(api, talk)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "the client disconnected" in caplog.text
    assert api.job_queue.list().jobs == ()


@pytest.mark.parametrize(
    "data",
    [
        GET.replace(b"\r\n\r\n", b"\r\nx: " + 200_000 * b"a" + b"\r\n\r\n"),
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        POST + b"content-length: -1\r\n\r\n",
    ],
    ids=["a head of 200 kB", "TLS", "two lengths", "a negative length"],
)
def test_bytes_that_are_not_http_are_400_and_not_logged(
    api: ApiServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(line: Line) -> None:
        reader, _ = await line.send(data)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400")

    serving(api, talk)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_requests_in_a_row_are_answered_in_their_order(api: ApiServer) -> None:
    async def talk(line: Line) -> None:
        reader, _ = await line.send(GET.replace(b"/v1/videos", b"/v1/nothing") + GET)
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 404")
        assert (await answer_of(reader)).startswith(b"HTTP/1.1 200")

    serving(api, talk)


def test_a_foreign_page_gets_no_cors_permission(api: ApiServer) -> None:
    async def talk(line: Line) -> None:
        asks = b"origin: https://evil.example\r\naccess-control-request-method: POST\r\n\r\n"
        answer = await line.ask(
            GET.replace(b"GET", b"OPTIONS").replace(b"\r\n\r\n", b"\r\n" + asks)
        )
        assert answer.startswith(b"HTTP/1.1 405")
        assert b"access-control" not in answer.lower()

    serving(api, talk)
