"""POST to a user-supplied URL, safe against SSRF and bounded in time.

The name is resolved here, private addresses are refused, and the connection goes to the very address that
was checked, so that a name that changes its answer (DNS rebinding) reaches nothing. No redirect is
followed, no proxy used, and of the answer only the status is read.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final
from urllib.parse import urlsplit

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PORTS: Final = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PostError(Exception):
    """The message was not delivered; the text says why, for the operator's log."""


class ForbiddenAddressError(PostError):
    """The URL or its address is not allowed; nothing was sent."""


@dataclass(frozen=True, slots=True)
class PostTarget:
    """The parts of a URL.

    Attributes:
        host: A name or an address.
        path: With the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "PostTarget":
        """Return the parts of a URL.

        Raises:
            ForbiddenAddressError: It is not a plain http or https URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ForbiddenAddressError("it is not a URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ForbiddenAddressError("it is not an http or https URL")
        if parts.username is not None or any(letter <= " " for letter in url):
            raise ForbiddenAddressError("it contains a user name, a space or a control character")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet; an IPv4 address within IPv6 is checked too."""
    inner = _wrapped(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float = 10.0,
    allows_private: bool = False,
) -> int:
    """Send a body and return the status of the answer.

    Args:
        url: Supplied by a user.
        body: What is sent.
        headers: Besides Host and Content-Length.
        timeout_s: For everything: name resolution, connecting, TLS and the exchange.
        allows_private: Whether it may go to addresses that are not public.

    Returns:
        The HTTP status.

    Raises:
        ForbiddenAddressError: The address is not allowed.
        PostError: It was not delivered in time.
    """
    target = PostTarget.of(url)
    give_up_s = time.monotonic() + timeout_s
    try:
        connection = _connect(target, give_up_s, allows_private=allows_private)
        if target.scheme == "https":
            connection = _wrap_in_tls(connection, target.host)
        with connection:
            return _exchange(connection, target, body, headers, give_up_s)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise PostError(f"{type(error).__name__}: {error}") from error


def _wrapped(address: Address) -> Address | None:
    """Return the IPv4 address within an IPv6 one (NAT64, Teredo, mapped, 6to4), if there is one."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _connect(target: PostTarget, give_up_s: float, *, allows_private: bool) -> socket.socket:
    """Return a connection to the first allowed address of the target that answers.

    The time left is shared among the addresses, so that dead ones cannot use all of it.

    Raises:
        ForbiddenAddressError: None of its addresses is allowed.
        OSError: None answers.
    """
    allowed = [
        address
        for address in _resolve(target, give_up_s)
        if allows_private or is_public(ipaddress.ip_address(address.partition("%")[0]))
    ]
    if not allowed:
        raise ForbiddenAddressError("its address is not a public one")
    failure: OSError = OSError("it has no address")
    for index, address in enumerate(allowed):
        share_s = _left_s(give_up_s) / (len(allowed) - index)
        try:
            return socket.create_connection((address, target.port), share_s)
        except OSError as error:
            failure = error
    raise failure


def _resolve(target: PostTarget, give_up_s: float) -> list[str]:
    """Return the addresses of the target's name.

    `getaddrinfo` has no time limit: it runs in a thread that is abandoned when the time is over.

    Raises:
        TimeoutError: It was not resolved in time.
    """
    answers: SimpleQueue[list[Any] | OSError | UnicodeError] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=look_up, name="getaddrinfo", daemon=True).start()
    try:
        found = answers.get(timeout=_left_s(give_up_s))
    except Empty:
        raise TimeoutError("its name was not resolved in time") from None
    if isinstance(found, Exception):
        raise found
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _left_s(give_up_s: float) -> float:
    """Return the seconds left, above zero.

    Raises:
        TimeoutError: There are none.
    """
    left_s = give_up_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no answer in time")
    return left_s


def _wrap_in_tls(connection: socket.socket, host: str) -> ssl.SSLSocket:
    """Return the connection in TLS before its handshake; the server has to prove that it is `host`."""
    context = ssl.create_default_context()
    return context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)


def _exchange(
    connection: socket.socket,
    target: PostTarget,
    body: bytes,
    headers: Mapping[str, str],
    give_up_s: float,
) -> int:
    """Return the status; a server that answers byte by byte is cut off when the time is over."""
    timer = threading.Timer(_left_s(give_up_s), _shut_down, (connection,))
    timer.daemon = True
    timer.start()
    try:
        if isinstance(connection, ssl.SSLSocket):
            connection.do_handshake()
        client = http.client.HTTPConnection(target.host, target.port)
        client.sock = connection
        client.request("POST", target.path, body, {**headers, "Connection": "close"})
        with client.getresponse() as response:
            return response.status
    finally:
        timer.cancel()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
