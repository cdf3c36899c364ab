"""Typed messages to and from their bytes: msgpack arrays, the class named beside them."""

from collections.abc import Callable

import msgspec

from objstore.formats.messages import REGISTRY, Message
from objstore.rpc.frames import ProtocolError


class Codec:
    """Encoders and decoders, made once per type and kept. For one event loop."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._names: dict[type[Message], bytes] = {cls: name.encode() for name, cls in REGISTRY.items()}
        # All at once: a class that msgspec cannot decode must fail the start, not the first call that meets it.
        self._decode: dict[bytes, Callable[[bytes | memoryview], Message]] = {
            name.encode(): msgspec.msgpack.Decoder(cls).decode for name, cls in REGISTRY.items()
        }

    def name(self, message: Message) -> bytes:
        """The name of its class on the wire. Raises KeyError for a class not in the registry."""
        return self._names[type(message)]

    def pack(self, message: Message) -> tuple[bytes, bytes]:
        """Its class's name on the wire, and its bytes. Raises KeyError for a class not in the registry."""
        return self._names[type(message)], self._encode(message)

    def encode(self, message: Message) -> bytes:
        return self._encode(message)

    def decode(self, name: bytes, body: bytes | memoryview) -> Message:
        """Raises ProtocolError for a name this version does not know, and for bytes that are not such a message."""
        decode = self._decode.get(name)
        if decode is None:
            raise ProtocolError(f"unknown message {name[:64]!r}")
        try:
            return decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"not a {name.decode()}: {error}") from error
