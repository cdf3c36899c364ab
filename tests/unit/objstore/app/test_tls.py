"""TLS of the public listener: what is refused, and that a renewed certificate is taken up."""

import asyncio
import contextlib
import datetime
import ssl
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from objstore.app.config import Proxy
from objstore.app.failure import Failure
from objstore.app.tls import keep_fresh, tls_context


def certify(directory: Path, serial: int) -> Proxy:
    """A self-signed certificate for localhost and its key, written as a renewal would: the key first."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now + datetime.timedelta(days=1))
    certificate = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (directory / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    return Proxy(tls_cert=str(directory / "cert.pem"), tls_key=str(directory / "key.pem"))


async def serial_at(port: int, version: ssl.TLSVersion | None = None) -> int:
    """The serial number that a client is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).serial_number


def test_no_certificate_no_tls() -> None:
    assert tls_context(Proxy()) is None


@pytest.mark.parametrize("damage", ["cert.pem", "key.pem"])
def test_what_is_no_certificate_is_one_plain_line(tmp_path: Path, damage: str) -> None:
    config = certify(tmp_path, 1)
    (tmp_path / damage).write_text("nonsense")
    with pytest.raises(Failure) as caught:
        tls_context(config)
    assert str(tmp_path / damage) in str(caught.value)
    assert "\n" not in str(caught.value)
    (tmp_path / damage).unlink()
    with pytest.raises(Failure, match="No such file"):
        tls_context(config)


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    config = certify(tmp_path, 1)
    context = tls_context(config)
    assert context is not None
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    watch = asyncio.create_task(keep_fresh(context, config, 0.01))
    assert await serial_at(port) == 1
    old = (tmp_path / "cert.pem").read_bytes()
    certify(tmp_path, 2)
    new = (tmp_path / "cert.pem").read_bytes()
    (tmp_path / "cert.pem").write_bytes(old)  # a pair that does not fit
    await asyncio.sleep(0.05)
    assert await serial_at(port) == 1
    (tmp_path / "cert.pem").write_bytes(new)
    async with asyncio.timeout(5):
        while await serial_at(port) != 2:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    watch.cancel()
    server.close()


async def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    context = tls_context(certify(tmp_path, 1))
    assert context is not None
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    assert await serial_at(port, ssl.TLSVersion.TLSv1_2) == 1
    with pytest.raises((ssl.SSLError, ConnectionError)), warnings.catch_warnings(action="ignore"):
        await serial_at(port, ssl.TLSVersion.TLSv1_1)
    server.close()
