"""One POST to an address that a stranger chose, without lending him this machine's place in a network.

The name is resolved here, each address is looked at, and the connection goes to the very address
that was looked at, so that a name that changes its mind reaches nothing. No redirect is followed,
no proxy asked, and of the answer only the status is read.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PORTS: Final = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class PostError(Exception):
    """The message did not arrive, or was not taken; the text says why, for the operator's log."""


class Forbidden(PostError):  # noqa: N818  # a refusal, and no attempt was made
    """The address is not one that messages may go to."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a message goes, taken apart.

    Attributes:
        host: A name or an address.
        path: With the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Return the target that a URL names.

        Raises:
            Forbidden: It is no plain http or https URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Forbidden("it is no URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise Forbidden("it is no http or https URL")
        if parts.username is not None or any(letter <= " " for letter in url):
            raise Forbidden("it holds a user name, a space or a control character")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], path)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also when it wraps one of IPv4."""
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
        url: Whose words are a stranger's.
        body: What is sent.
        headers: Besides Host and Content-Length.
        timeout_s: For connecting, and again for everything after it.
        allows_private: Whether it may go to addresses that are not public.

    Returns:
        The status, whatever it is.

    Raises:
        Forbidden: It may not go there.
        PostError: It could not be delivered.
    """
    target = Target.of(url)
    try:
        line = _connect(target, timeout_s, allows_private=allows_private)
        if target.scheme == "https":
            line = _in_tls(line, target.host)
        with line:
            return _exchange(line, target, body, headers, timeout_s)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise PostError(f"{type(error).__name__}: {error}") from error


def _wrapped(address: Address) -> Address | None:
    """Return the IPv4 address that one of IPv6 leads to, if it is of such a kind."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _connect(target: Target, timeout_s: float, *, allows_private: bool) -> socket.socket:
    """Return a connection to the first address of the target that may be used and answers.

    Raises:
        Forbidden: None of its addresses may be used.
        OSError: None answers.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    allowed = [
        address
        for address in addresses
        if allows_private or is_public(ipaddress.ip_address(address.partition("%")[0]))
    ]
    if not allowed:
        raise Forbidden("its address is not a public one")
    failure: OSError = OSError("it has no address")
    for address in allowed:
        try:
            return socket.create_connection((address, target.port), timeout_s)
        except OSError as error:
            failure = error
    raise failure


def _in_tls(line: socket.socket, host: str) -> ssl.SSLSocket:
    """Return the line in TLS, not yet agreed upon; its end has to prove that it is `host`."""
    context = ssl.create_default_context()
    return context.wrap_socket(line, server_hostname=host, do_handshake_on_connect=False)


def _exchange(
    line: socket.socket, target: Target, body: bytes, headers: Mapping[str, str], timeout_s: float
) -> int:
    """Return the status; a server that answers drop by drop is cut off when its time is over."""
    cutting = threading.Timer(timeout_s, _cut, (line,))
    cutting.daemon = True
    cutting.start()
    try:
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = line
        connection.request("POST", target.path, body, {**headers, "Connection": "close"})
        with connection.getresponse() as response:
            return response.status
    finally:
        cutting.cancel()


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        socket.socket.shutdown(line, socket.SHUT_RDWR)
