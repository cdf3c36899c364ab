"""Bytes that must never change their meaning: what one release wrote, every later one reads.

A new format gets new bytes here; these stay for ever.
"""

from msgspec.structs import replace

from objstore.formats.filenames import FileKind, FileName, file_name, parse_file_name
from objstore.formats.messages import IndexTarget, Target
from objstore.formats.objectmeta import checksum_table, decode, decode_version, encode
from objstore.formats.pending import PendingUpdate, frame, group, scan
from objstore.formats.quarantinerecord import QuarantineRecord, decode_record, encode_record
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_ticks
from objstore.model.version import Version

T1 = from_ticks(176_384_957_712_345, 0x0A3F)
T2 = from_ticks(176_384_957_712_346, 0x0A3F)
HASH = bytes(range(16))
VERSION = Version(
    "/AUTH_test/photos/ä b/1.jpg",
    T1,
    size=11,
    etag="5eb63bbbe01eeed093cb22bb8f5acdc3",
    content_type="image/jpeg",
    headers={"cache-control": "no-store"},
    user={"colour": "blue"},
    system={"manifest": "slo"},
    meta_timestamp=T2,
    type_timestamp=T1,
)
BODY = b"hello world"


def test_file_names() -> None:
    written = "000102030405060708090a0b0c0d0e0f.1763849577.12345_0a3f."
    for kind, extension in ((FileKind.DATA, "data"), (FileKind.META, "meta"), (FileKind.TOMBSTONE, "ts")):
        assert file_name(HASH, T1, kind) == written + extension
        assert parse_file_name(written + extension) == FileName(HASH, T1, kind)


ATTRIBUTE = bytes.fromhex(
    "764bec1b01000b000000000000009b0000000ec4bb6d04000000110ccca89bbc2f415554485f746573742f70686f746f732fc3a420622f31"
    "2e6a7067cf281af4afe1f64a3fc20bd9203565623633626262653031656565643039336362323262623866356163646333aa696d6167652f"
    "6a70656781ad63616368652d636f6e74726f6ca86e6f2d73746f726581a6636f6c6f7572a4626c756581a86d616e6966657374a3736c6fcf"
    "281af4afe1f68a3fcf281af4afe1f64a3faa6594c9"
)
ATTRIBUTE_OF_TRAILER = bytes.fromhex("bacd074001030b000000000000009b0000000ec4bb6d04000000110ccca8")
PENDING = bytes.fromhex(
    "4f535031a4000000f65487d505000000000000009593a264314d01c410000102030405060708090a0b0c0d0e0f95a831302e302e302e31cd"
    "1839a2643263c4100f0e0d0c0b0a09080706050403020100b12f415554485f746573742f70686f746f7398aac3a420622f312e6a7067cf28"
    "1af4afe1f64a3fc20bd9203565623633626262653031656565643039336362323262623866356163646333aa696d6167652f6a706567cf28"
    "1af4afe1f64a3fcf281af4afe1f68a3f"
)
PENDING_THAT_EXPIRES = bytes.fromhex(
    "4f535031a9000000ba9b4fc306000000000000009593a264314d01c410000102030405060708090a0b0c0d0e0f95a831302e302e302e31cd"
    "1839a2643263c4100f0e0d0c0b0a09080706050403020100b12f415554485f746573742f70686f746f7399aac3a420622f312e6a7067cf28"
    "1af4afe1f64a3fc20bd9203565623633626262653031656565643039336362323262623866356163646333aa696d6167652f6a706567cf28"
    "1af4afe1f64a3fcf281af4afe1f68a3fce6b49d200"
)
PENDING_GROUP = bytes.fromhex("4f535031a9000000fa2d990f0600000000000080") + PENDING_THAT_EXPIRES[20:]
QUARANTINE_FROM_BEFORE_RECORDS_WERE_SUPERSEDED = (
    b'{"path":"objects/77/x.data","reason":"checksum mismatch in chunk 3","name":"/AUTH_test/photos/\xc3\xa4 b/1.jpg",'
    b'"time_s":1763849577.5,"version":1}\n'
)
QUARANTINE = QUARANTINE_FROM_BEFORE_RECORDS_WERE_SUPERSEDED.replace(b"}", b',"superseded":false}')


def test_attribute() -> None:
    assert encode(VERSION, checksum_table(BODY), len(BODY)) == (ATTRIBUTE, b"")
    header = decode(ATTRIBUTE)
    assert (header.version, header.table, header.file_size) == (VERSION, bytes.fromhex("aa6594c9"), 11)


def test_attribute_with_a_trailer() -> None:
    encoded = encode(VERSION, checksum_table(BODY), len(BODY), budget=30)
    assert encoded.attribute == ATTRIBUTE_OF_TRAILER
    header = decode(ATTRIBUTE_OF_TRAILER)
    assert (header.version, header.table, header.file_size) == (None, None, 11 + len(encoded.trailer))
    assert encoded.trailer == ATTRIBUTE[30:]
    assert decode_version(header, ATTRIBUTE[30:-4]) == VERSION


UPDATE = PendingUpdate(
    Target("d1", 77, 1),
    HASH,
    IndexTarget("10.0.0.1", 6201, "d2", 99, HASH[::-1]),
    "/AUTH_test/photos",
    ObjectRow("ä b/1.jpg", T1, False, 11, VERSION.etag, "image/jpeg", T1, T2),
)


def test_pending_record() -> None:
    expiring = replace(UPDATE, row=replace(UPDATE.row, delete_at=1_800_000_000))
    assert frame(6, expiring) == PENDING_THAT_EXPIRES
    assert scan(PENDING_THAT_EXPIRES).records == {6: expiring}


def test_group_of_pending_records() -> None:
    expiring = replace(UPDATE, row=replace(UPDATE.row, delete_at=1_800_000_000))
    assert group([PENDING_THAT_EXPIRES]) == PENDING_GROUP
    assert scan(PENDING_GROUP) == ({6: expiring}, 0, 0)


def test_pending_record_from_before_rows_told_of_expiry() -> None:
    assert scan(PENDING).records == {5: UPDATE}


def test_quarantine_record() -> None:
    record = QuarantineRecord("objects/77/x.data", "checksum mismatch in chunk 3", VERSION.name, 1763849577.5)
    assert encode_record(record) == QUARANTINE
    assert decode_record(QUARANTINE) == record
    assert decode_record(QUARANTINE_FROM_BEFORE_RECORDS_WERE_SUPERSEDED) == record
