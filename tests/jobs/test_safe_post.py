import ipaddress
import socket
import ssl
import threading

import pytest

from reelgrid.jobs.safe_post import ForbiddenAddressError, PostError, PostTarget, is_public, post
from tests.jobs.receiver import receiving
from tests.media.certificates import KEYS, PEM, Authority, named, private_pem


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),  # cloud metadata service: credentials of the machine
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("192.0.2.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fd00:ec2::254", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),  # Teredo to 127.0.0.1
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address, expected):
    assert is_public(ipaddress.ip_address(address)) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://0/",
        "http://2130706433/",  # 127.0.0.1 as one number
        "http://0x7f.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
def test_a_private_address_in_any_spelling_is_forbidden(url):
    with pytest.raises(ForbiddenAddressError, match="not a public one"):
        post(url, b"", {})


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://",
        "https:///path",
        "http://user:secret@example.com/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com:99999/",
        "http://[::1/",
        "//example.com/",
        "",
    ],
)
def test_what_is_no_plain_url_is_forbidden(url):
    with pytest.raises(ForbiddenAddressError):
        PostTarget.of(url)


def test_a_name_that_leads_to_a_private_address_is_forbidden(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", resolving("10.0.0.1"))
    with pytest.raises(ForbiddenAddressError, match="not a public one"):
        post("http://innocent.example/", b"", {})


def test_a_name_is_resolved_once_and_that_answer_is_used(monkeypatch):
    """DNS rebinding: the second answer would be another."""
    asked = []
    with receiving() as receiver:

        def resolve(host, port, *args, **kwargs):
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        def connect(address, *args, **kwargs):
            reached.append(address)
            sock = socket.socket()
            sock.connect(address)
            return sock

        reached: list[tuple[str, int]] = []
        monkeypatch.setattr("socket.getaddrinfo", resolve)
        monkeypatch.setattr("socket.create_connection", connect)
        url = f"http://rebinding.example:{receiver.port}/"
        assert post(url, b"{}", {}, allows_private=True) == 200
        assert asked == ["rebinding.example"]
        assert reached == [("127.0.0.1", receiver.port)]
        assert receiver.received[0][1]["Host"] == f"rebinding.example:{receiver.port}"


def test_public_addresses_are_tried_and_private_ones_beside_them_never(monkeypatch):
    tried = []

    def connect(address, timeout):
        tried.append(address[0])
        raise ConnectionRefusedError("no")

    monkeypatch.setattr("socket.getaddrinfo", resolving("10.0.0.1", "8.8.8.8", "8.8.4.4"))
    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(PostError, match="ConnectionRefusedError"):
        post("http://mixed.example/", b"", {})
    assert tried == ["8.8.8.8", "8.8.4.4"]


def test_a_name_that_is_not_resolved_in_time_is_given_up(monkeypatch):
    answered = threading.Event()

    def resolve(*_args, **_kwargs):
        answered.wait(60)
        return []

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    with pytest.raises(PostError, match="not resolved in time"):
        post("http://slow.example/", b"", {}, timeout_s=0.05)
    answered.set()


def test_sixty_dead_addresses_take_no_longer_than_one(monkeypatch):
    """Each address uses its whole timeout; the test controls the clock."""
    now_s, tried = [0.0], []

    def connect(address, timeout):
        tried.append(timeout)
        now_s[0] += timeout
        raise TimeoutError("timed out")

    monkeypatch.setattr("reelgrid.jobs.safe_post.time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("reelgrid.jobs.safe_post._resolve", lambda *_: ADDRESSES)
    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(PostError, match="timed out"):
        post("http://dead.example/", b"", {}, timeout_s=10.0)
    assert len(tried) == len(ADDRESSES)
    assert sum(tried) == pytest.approx(10.0)


ADDRESSES = [f"8.8.{number}.8" for number in range(60)]


def test_a_redirect_is_an_answer_and_is_not_followed():
    with receiving() as receiver:
        receiver.answers = [302]
        assert post(receiver.url, b"{}", {}, allows_private=True) == 302
        assert [path for path, _, _ in receiver.received] == ["/hook?token=secret"]


def test_a_server_that_answers_drop_by_drop_is_cut_off():
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_over = threading.Event()

        def drip():
            line, _ = server.accept()
            with line:
                try:
                    while not is_over.wait(0.05):
                        line.sendall(b"H")
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(PostError):
            post(url, b"", {}, timeout_s=0.3, allows_private=True)
        is_over.set()
        thread.join()


def test_a_refused_connection_is_a_failure_that_can_be_retried():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PostError) as caught:
        post(f"http://127.0.0.1:{port}/", b"", {}, allows_private=True)
    assert not isinstance(caught.value, ForbiddenAddressError)
    with pytest.raises(PostError):
        post("http://no-such-name.invalid/", b"", {})


@pytest.fixture
def tls(tmp_path, monkeypatch):
    """A certificate for hooks.example, from an authority that the test trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    authority = Authority()
    signer_key = authority._key

    key = KEYS["es256"]()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(named("hooks"))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()),
            critical=False,
        )
        .sign(signer_key, hashes.SHA256())
    )
    (tmp_path / "server.pem").write_bytes(private_pem(key) + leaf.public_bytes(PEM))
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


def test_over_tls_the_other_end_has_to_prove_its_name(tls, monkeypatch):
    with receiving(tls) as receiver:
        monkeypatch.setattr("socket.getaddrinfo", resolving("127.0.0.1"))
        url = f"https://hooks.example:{receiver.port}/hook"
        assert post(url, b"{}", {}, allows_private=True) == 200
        with pytest.raises(PostError, match="CERTIFICATE_VERIFY_FAILED"):
            post(url.replace("hooks.", "other."), b"{}", {}, allows_private=True)
        assert len(receiver.received) == 1


def resolving(*addresses):
    def resolve(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    return resolve
