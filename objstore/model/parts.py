"""Where the parts of multipart uploads are kept, and what a listing says of them (S3 user guide: "Uploading and copying objects
using multipart upload").

An account's uploads are in an account of their own that no user can name, one container for each bucket. In it are a record of each
upload that is open, and every part that was uploaded, each under a name that is never used again: a part that comes late changes
nothing that was put together before.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from objstore.model.checksums import (
    ChecksumAlgorithm,
    ChecksumType,
    checksum_text,
    composite_checksum,
    full_object_checksum,
    parse_checksum,
)
from objstore.model.errors import PartMissing
from objstore.model.rows import ObjectRow

PART_BYTES_MIN = 5 * 2**20
"""Of every part but the last."""
PART_BYTES_MAX = 5 * 2**30
NOTE = "listed-note"
"""The system fact whose text follows the etag in a listing row: there it tells a part's checksum."""

RECORDS, PARTS = "u/", "p/"
"""What the names of all records, and of all parts, begin with."""

_HIDDEN = ".multipart-"
_ID = re.compile("[0-9a-f]{16}", re.ASCII)


class Part(NamedTuple):
    """One part that was uploaded. `name`: of its object. `checksum`: "crc32=<base64>" or the like, "" for none."""

    number: int
    etag: str
    size: int
    name: str
    checksum: str
    timestamp: int

    def digest(self, algorithm: ChecksumAlgorithm) -> bytes | None:
        """Its checksum by an algorithm, None when it has none."""
        name, _, value = self.checksum.partition("=")
        return parse_checksum(algorithm, value) if name == algorithm else None


def whole_checksum(algorithm: ChecksumAlgorithm, kind: ChecksumType, parts: Iterable[Part]) -> str:
    """The text of the whole's checksum. Raises PartMissing for a part that has none."""
    digests: list[tuple[bytes, int]] = []
    for part in parts:
        digest = part.digest(algorithm)
        if digest is None:
            raise PartMissing(part.number)
        digests.append((digest, part.size))
    if kind is ChecksumType.COMPOSITE:
        return composite_checksum(algorithm, (digest for digest, _ in digests))
    return checksum_text(full_object_checksum(algorithm, digests))


def hidden_account(account: str) -> str:
    """The account that holds another one's uploads."""
    return _HIDDEN + account


def holder_of(hidden: str) -> str:
    """The account whose uploads an account holds; "" for one that holds none."""
    return hidden.removeprefix(_HIDDEN) if hidden.startswith(_HIDDEN) else ""


def valid_id(text: str) -> bool:
    """Whether it may be an upload's id."""
    return _ID.fullmatch(text) is not None


def record_name(key: str, id_: str) -> str:
    """The object that says that an upload is open. Records are listed by key, then by age."""
    return f"{RECORDS}{key}\0{id_}"


def record_prefix(prefix: str) -> str:
    """Of the records of all keys that begin with `prefix`."""
    return RECORDS + prefix


def record_of(name: str) -> tuple[str, str]:
    """Key and id from a record's name."""
    key, _, id_ = name.removeprefix(RECORDS).rpartition("\0")
    return key, id_


def part_prefix(key: str, id_: str) -> str:
    """Of all parts of an upload."""
    return f"{PARTS}{key}\0{id_}/"


def part_name(key: str, id_: str, number: int, unique: str) -> str:
    """A part's object. Of two with one number the later one has the greater `unique`."""
    return f"{part_prefix(key, id_)}{number:05d}/{unique}"


def part_of(row: ObjectRow) -> Part:
    """What a row tells. Raises ValueError for a row of anything else."""
    _, number, _ = row.name.rsplit("/", 2)
    etag, _, note = row.etag.partition("; ")
    return Part(int(number), etag, row.size, row.name, note, row.timestamp)


def upload_of(name: str) -> tuple[str, str]:
    """Key and id of the upload that a part belongs to."""
    key, _, rest = name.removeprefix(PARTS).rpartition("\0")
    return key, rest.partition("/")[0]
