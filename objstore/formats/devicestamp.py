"""The stamp of a device: how old its cluster was when it was last in use. A JSON text, so that a person can read it too."""

import msgspec

FORMAT = 1


class Stamp(msgspec.Struct, frozen=True):
    """`age_s`: seconds that the cluster had been up in all. `samples`: (age, wall clock) pairs of the past, oldest first, from
    which follows how much of that time went by since a given moment.
    """

    age_s: float
    samples: list[tuple[float, float]] = []
    version: int = FORMAT


def encode_stamp(stamp: Stamp) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(stamp) + b"\n"


def decode_stamp(data: bytes) -> Stamp:
    """The inverse of `encode_stamp`. Raises ValueError for anything else, or for a later format."""
    try:
        stamp = msgspec.json.decode(data, type=Stamp)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError("not a device's stamp") from error
    if stamp.version != FORMAT:
        raise ValueError(f"stamp of format {stamp.version}, this program knows {FORMAT}")
    return stamp
