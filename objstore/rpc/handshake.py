"""How two nodes prove to each other that they know the cluster's secret, without I/O.

    client → server   Hello: protocol version, mode, nonce, node name
    server → client   Challenge: protocol version, nonce, node name
    client → server   Proof: HMAC(secret, "client", Hello, Challenge), cluster tag
    server → client   Welcome: HMAC(secret, "server", Hello, Challenge), cluster tag; or Refusal: one plain line

The client proves first, so that a stranger who connects learns nothing it could guess secrets against. Fresh nonces of both sides
are in both proofs: nothing recorded can be played again, nothing sent can be reflected. The cluster tag is keyed too: it tells
nodes with the same secret and another hash prefix or suffix apart, without showing either. Each message is a u16 length (little-
endian) and a msgpack array.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PROTOCOL_VERSION = 1
MAGIC = "objstore-rpc"
SECRET_BYTES_MIN = 32
NONCE_BYTES = 32
MESSAGE_BYTES_MAX = 1024
NODE_NAME_CHARS_MAX = 255
MODE_CALLS = 1
MODE_STREAM = 2


class HandshakeError(Exception):
    """The other side is not one of us, or not of our cluster; one plain line says why."""


class _Hello(msgspec.Struct, array_like=True, frozen=True):
    magic: str
    version: int
    mode: int
    nonce: bytes
    node: str


class _Challenge(msgspec.Struct, array_like=True, frozen=True):
    version: int
    nonce: bytes
    node: str


class _Proof(msgspec.Struct, array_like=True, frozen=True):
    proof: bytes
    cluster: bytes


class _Answer(msgspec.Struct, array_like=True, frozen=True):
    """Welcome when `refusal` is empty."""

    refusal: str
    proof: bytes = b""
    cluster: bytes = b""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node proves and expects. `fingerprint` is the hash of the cluster's hash prefix and suffix."""

    secret: bytes = field(repr=False)
    node: str
    fingerprint: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES_MIN:
            raise ValueError(f"the cluster secret must have at least {SECRET_BYTES_MIN} bytes")
        if not self.fingerprint:
            raise ValueError("the cluster fingerprint is empty")
        if not 0 < len(self.node) <= NODE_NAME_CHARS_MAX:
            raise ValueError(f"a node name has 1 to {NODE_NAME_CHARS_MAX} characters")

    def proof(self, role: bytes, transcript: bytes) -> bytes:
        return hmac.digest(self.secret, b"proof " + role + b"\0" + transcript, "sha256")

    def cluster_tag(self, role: bytes, transcript: bytes) -> bytes:
        return hmac.digest(
            self.secret, b"cluster " + role + b"\0" + self.fingerprint + hashlib.sha256(transcript).digest(), "sha256"
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What a finished handshake gives: the keys of both directions, and who the other side says it is."""

    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    node: str
    mode: int


class _Handshake:
    """What both sides share: message framing, and the end."""

    def __init__(self, credentials: Credentials, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self._credentials = credentials
        self._nonce = nonce
        self._buffer = b""
        self._transcript = b""
        self.session: Session | None = None

    def receive(self, data: bytes) -> bytes:
        """Feed what came; returns what to send. When `session` is set, the handshake is over and `rest` holds what followed.

        Raises HandshakeError: send `refusal` (when not empty), then close.
        """
        self._buffer += data
        out = b""
        while self.session is None and len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "little")
            if length > MESSAGE_BYTES_MAX:
                raise HandshakeError("not an objstore node")
            if len(self._buffer) < 2 + length:
                break
            message, self._buffer = self._buffer[2 : 2 + length], self._buffer[2 + length :]
            try:
                out += self._message(message)
            except msgspec.DecodeError:
                raise HandshakeError("not an objstore node") from None
        return out

    @property
    def rest(self) -> bytes:
        return self._buffer

    @property
    def refusal(self) -> bytes:
        """What a side that raised HandshakeError still says."""
        return b""

    def _message(self, message: bytes) -> bytes:
        raise NotImplementedError

    def _finish(self, send: bytes, receive: bytes, node: str, mode: int) -> None:
        salt = hashlib.sha256(self._transcript).digest()

        def key(direction: bytes) -> bytes:
            return HKDF(SHA256(), 32, salt, b"objstore rpc " + direction).derive(self._credentials.secret)

        self.session = Session(key(send), key(receive), node, mode)


class ClientHandshake(_Handshake):
    """The side that connected. Send `hello()` first."""

    def __init__(self, credentials: Credentials, nonce: bytes, mode: int) -> None:
        super().__init__(credentials, nonce)
        self._mode = mode
        self._peer = ""

    def hello(self) -> bytes:
        hello = _frame(_Hello(MAGIC, PROTOCOL_VERSION, self._mode, self._nonce, self._credentials.node))
        self._transcript = hello
        return hello

    def _message(self, message: bytes) -> bytes:
        if not self._peer:
            return self._prove(message)
        answer = msgspec.msgpack.decode(message, type=_Answer)
        if answer.refusal:
            raise HandshakeError(_printable(answer.refusal))
        if not hmac.compare_digest(answer.proof, self._credentials.proof(b"server", self._transcript)):
            raise HandshakeError("the server does not know the cluster secret")
        if not hmac.compare_digest(answer.cluster, self._credentials.cluster_tag(b"server", self._transcript)):
            raise HandshakeError("the server has another hash prefix or suffix")
        self._finish(b"client to server", b"server to client", self._peer, self._mode)
        return b""

    def _prove(self, message: bytes) -> bytes:
        try:
            challenge = msgspec.msgpack.decode(message, type=_Challenge)
        except msgspec.ValidationError:
            answer = msgspec.msgpack.decode(message, type=_Answer)
            raise HandshakeError(_printable(answer.refusal)) from None
        if challenge.version != PROTOCOL_VERSION:
            raise HandshakeError(f"the server speaks version {challenge.version}, this node {PROTOCOL_VERSION}")
        if len(challenge.nonce) != NONCE_BYTES or hmac.compare_digest(challenge.nonce, self._nonce):
            raise HandshakeError("not an objstore node")
        self._peer = _printable(challenge.node) or "?"
        self._transcript += len(message).to_bytes(2, "little") + message
        transcript = self._transcript
        return _frame(_Proof(self._credentials.proof(b"client", transcript), self._credentials.cluster_tag(b"client", transcript)))


class ServerHandshake(_Handshake):
    """The side that accepted."""

    def __init__(self, credentials: Credentials, nonce: bytes) -> None:
        super().__init__(credentials, nonce)
        self._hello: _Hello | None = None
        self._refusal = b""

    @property
    def refusal(self) -> bytes:
        return self._refusal

    def _message(self, message: bytes) -> bytes:
        if self._hello is None:
            return self._challenge(message)
        proof = msgspec.msgpack.decode(message, type=_Proof)
        transcript = self._transcript
        if not hmac.compare_digest(proof.proof, self._credentials.proof(b"client", transcript)):
            raise self._refuse("the client does not know the cluster secret")
        if not hmac.compare_digest(proof.cluster, self._credentials.cluster_tag(b"client", transcript)):
            raise self._refuse("the client has another hash prefix or suffix")
        self._finish(b"server to client", b"client to server", _printable(self._hello.node), self._hello.mode)
        return _frame(
            _Answer("", self._credentials.proof(b"server", transcript), self._credentials.cluster_tag(b"server", transcript))
        )

    def _challenge(self, message: bytes) -> bytes:
        hello = msgspec.msgpack.decode(message, type=_Hello)
        if hello.magic != MAGIC or len(hello.nonce) != NONCE_BYTES or hello.mode not in (MODE_CALLS, MODE_STREAM):
            raise HandshakeError("not an objstore node")
        if hello.version != PROTOCOL_VERSION:
            raise self._refuse(f"the client speaks version {hello.version}, this node {PROTOCOL_VERSION}")
        self._hello = hello
        challenge = _frame(_Challenge(PROTOCOL_VERSION, self._nonce, self._credentials.node))
        self._transcript = len(message).to_bytes(2, "little") + message + challenge
        return challenge

    def _refuse(self, text: str) -> HandshakeError:
        self._refusal = _frame(_Answer(text))
        return HandshakeError(text)


def _frame(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(2, "little") + body


def _printable(text: str) -> str:
    """What a stranger says may reach the log: one short line of it."""
    return "".join(char if char.isprintable() else "?" for char in text[:200])
