"""The handshake: nobody without the secret gets in, nothing recorded can be used again."""

import pytest

from objstore.rpc.handshake import (
    MODE_CALLS,
    MODE_STREAM,
    NONCE_BYTES,
    ClientHandshake,
    Credentials,
    HandshakeError,
    ServerHandshake,
    Session,
)

SECRET = b"s" * 32
HERE = Credentials(SECRET, "client", b"fingerprint")
THERE = Credentials(SECRET, "server", b"fingerprint")


def nonce(letter: str) -> bytes:
    return letter.encode() * NONCE_BYTES


def shake(client: ClientHandshake, server: ServerHandshake, piece: int = 1000) -> tuple[Session, Session]:
    """Carry bytes both ways, `piece` at a time, until both are done. Passes on what either raises."""
    to_server, to_client = client.hello(), b""
    for _ in range(10_000):
        if client.session is not None and server.session is not None:
            return client.session, server.session
        to_client += server.receive(to_server[:piece])
        to_server = to_server[piece:]
        to_server += client.receive(to_client[:piece])
        to_client = to_client[piece:]
    raise AssertionError("no end")


@pytest.mark.parametrize("piece", [1, 3, 50, 1000])
@pytest.mark.parametrize("mode", [MODE_CALLS, MODE_STREAM])
def test_both_prove_and_agree(piece: int, mode: int) -> None:
    client, server = shake(ClientHandshake(HERE, nonce("a"), mode), ServerHandshake(THERE, nonce("b")), piece)
    assert client.send_key == server.receive_key and client.receive_key == server.send_key
    assert client.send_key != client.receive_key and SECRET not in (client.send_key, client.receive_key)
    assert (client.node, server.node) == ("server", "client")
    assert client.mode == server.mode == mode


def test_keys_differ_per_session() -> None:
    keys = set()
    for one, other in (("a", "b"), ("a", "c"), ("d", "b")):
        session, _ = shake(ClientHandshake(HERE, nonce(one), MODE_CALLS), ServerHandshake(THERE, nonce(other)))
        keys |= {session.send_key, session.receive_key}
    assert len(keys) == 6


def test_wrong_secret_is_refused_and_the_client_is_told() -> None:
    client = ClientHandshake(Credentials(b"w" * 32, "client", b"fingerprint"), nonce("a"), MODE_CALLS)
    server = ServerHandshake(THERE, nonce("b"))
    proof = client.receive(server.receive(client.hello()))
    with pytest.raises(HandshakeError, match="does not know the cluster secret"):
        server.receive(proof)
    assert server.session is None
    with pytest.raises(HandshakeError, match="does not know the cluster secret"):
        client.receive(server.refusal)
    assert client.session is None


def test_a_server_without_the_secret_is_refused() -> None:
    """It can answer anything but the proof."""
    client = ClientHandshake(HERE, nonce("a"), MODE_CALLS)
    impostor = ServerHandshake(Credentials(b"w" * 32, "server", b"fingerprint"), nonce("b"))
    proof = client.receive(impostor.receive(client.hello()))
    with pytest.raises(HandshakeError):
        impostor.receive(proof)
    # What an honest server answered to another client is of no use either.
    other = ClientHandshake(HERE, nonce("c"), MODE_CALLS)
    honest = ServerHandshake(THERE, nonce("b"))
    welcome = honest.receive(other.receive(honest.receive(other.hello())))
    with pytest.raises(HandshakeError, match="server does not know"):
        client.receive(welcome)


def test_a_server_that_reflects_is_refused() -> None:
    client = ClientHandshake(HERE, nonce("a"), MODE_CALLS)
    hello = client.hello()
    with pytest.raises(HandshakeError):
        client.receive(hello)
    client = ClientHandshake(HERE, nonce("a"), MODE_CALLS)
    client.hello()
    mirror = ServerHandshake(THERE, nonce("a"))
    with pytest.raises(HandshakeError):
        client.receive(mirror.receive(hello))


def test_another_cluster_with_the_same_secret_is_refused() -> None:
    client = ClientHandshake(Credentials(SECRET, "client", b"other"), nonce("a"), MODE_CALLS)
    server = ServerHandshake(THERE, nonce("b"))
    proof = client.receive(server.receive(client.hello()))
    with pytest.raises(HandshakeError, match="hash prefix or suffix"):
        server.receive(proof)
    with pytest.raises(HandshakeError, match="hash prefix or suffix"):
        client.receive(server.refusal)


def test_a_recording_cannot_be_played_again() -> None:
    client, server = ClientHandshake(HERE, nonce("a"), MODE_CALLS), ServerHandshake(THERE, nonce("b"))
    hello = client.hello()
    proof = client.receive(server.receive(hello))
    server.receive(proof)
    assert server.session is not None
    again = ServerHandshake(THERE, nonce("c"))
    again.receive(hello)
    with pytest.raises(HandshakeError, match="does not know"):
        again.receive(proof)


def test_nothing_in_the_clear_depends_on_the_secret_before_the_client_has_proved() -> None:
    """A stranger who connects learns nothing to guess secrets against."""
    hello = ClientHandshake(HERE, nonce("a"), MODE_CALLS).hello()
    other = Credentials(b"o" * 32, "server", b"other")
    assert ServerHandshake(THERE, nonce("b")).receive(hello) == ServerHandshake(other, nonce("b")).receive(hello)


@pytest.mark.parametrize("flip", range(0, 60))
def test_an_altered_hello_never_leads_to_a_session(flip: int) -> None:
    client, server = ClientHandshake(HERE, nonce("a"), MODE_CALLS), ServerHandshake(THERE, nonce("b"))
    hello = bytearray(client.hello())
    at = 2 + flip % (len(hello) - 2)
    hello[at] ^= 1
    with pytest.raises(HandshakeError):
        answer = server.receive(client.receive(server.receive(bytes(hello))))
        client.receive(answer)
        raise HandshakeError("still waiting")
    assert client.session is None and server.session is None


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x05\x00\xff\xff\xff\xff\xff", b"\x00\x00", b"\x01\x00\xc0", b"\xff\xff"]
)
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(HandshakeError, match="not an objstore node"):
        ServerHandshake(THERE, nonce("b")).receive(noise)
    client = ClientHandshake(HERE, nonce("a"), MODE_CALLS)
    client.hello()
    with pytest.raises(HandshakeError):
        client.receive(noise)


def test_the_text_of_a_stranger_is_made_harmless() -> None:
    client, server = ClientHandshake(HERE, nonce("a"), MODE_CALLS), ServerHandshake(THERE, nonce("b"))
    server._refuse("evil\r\n\x1b[2Jline " + "x" * 800)
    client.hello()
    with pytest.raises(HandshakeError) as error:
        client.receive(server.refusal)
    assert str(error.value).isprintable() and len(str(error.value)) <= 200


def test_what_follows_the_handshake_is_kept() -> None:
    client, server = ClientHandshake(HERE, nonce("a"), MODE_CALLS), ServerHandshake(THERE, nonce("b"))
    welcome = server.receive(client.receive(server.receive(client.hello())))
    client.receive(welcome + b"first packet")
    assert client.session is not None and client.rest == b"first packet"


@pytest.mark.parametrize("secret", [b"", b"x" * 31, b"secret"])
def test_there_is_no_short_or_default_secret(secret: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Credentials(secret, "node", b"fingerprint")


def test_other_wrong_credentials() -> None:
    with pytest.raises(ValueError, match="fingerprint"):
        Credentials(SECRET, "node", b"")
    with pytest.raises(ValueError, match="node name"):
        Credentials(SECRET, "", b"fingerprint")


def test_the_secret_is_not_shown() -> None:
    assert "ssss" not in repr(HERE)
