"""Why a file is in quarantine: a JSON text beside it, so that a person can read it too."""

import msgspec

FORMAT = 1


class QuarantineRecord(msgspec.Struct, frozen=True):
    """`path` is where the file was, relative to the device; `name` is "" when its metadata was unreadable. `superseded`: the
    file is not missed any more. The device holds (or held) its version or a newer one, or the other replicas showed that it was
    never acknowledged, or the partition left the device.
    """

    path: str
    reason: str
    name: str
    time_s: float
    version: int = FORMAT
    superseded: bool = False


def encode_record(record: QuarantineRecord) -> bytes:
    """The record as one line of JSON."""
    return msgspec.json.encode(record) + b"\n"


def decode_record(data: bytes) -> QuarantineRecord:
    """The inverse of `encode_record`.

    Raises ValueError for anything else, or for a later format.
    """
    try:
        record = msgspec.json.decode(data, type=QuarantineRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ValueError("not a quarantine record") from e
    if record.version != FORMAT:
        raise ValueError(f"quarantine record of format {record.version}")
    return record
