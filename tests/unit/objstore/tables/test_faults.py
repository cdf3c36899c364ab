"""What SQLite's errors mean to a caller."""

import sqlite3

import pytest

from objstore.model.errors import Code
from objstore.tables.faults import DatabaseFault, is_failed_sync, is_of_one_operation, node_error
from objstore.tables.schema import ForeignContents, WrongSchema


def fault(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (fault(sqlite3.SQLITE_CORRUPT), Code.CORRUPT),
        (fault(sqlite3.SQLITE_CORRUPT_INDEX), Code.CORRUPT),
        (fault(sqlite3.SQLITE_NOTADB), Code.CORRUPT),
        (fault(sqlite3.SQLITE_FULL), Code.NO_SPACE),
        (fault(sqlite3.SQLITE_BUSY_RECOVERY), Code.BUSY),
        (fault(sqlite3.SQLITE_IOERR_READ), Code.DEVICE_FAILED),
        (fault(sqlite3.SQLITE_READONLY), Code.DEVICE_FAILED),
        (fault(sqlite3.SQLITE_MISUSE), Code.INTERNAL),
        (sqlite3.OperationalError("Could not decode to UTF-8 column"), Code.CORRUPT),
        (sqlite3.ProgrammingError("closed"), Code.INTERNAL),
        (ForeignContents("odd"), Code.CORRUPT),
        (WrongSchema("later"), Code.DEVICE_FAILED),
        (OverflowError("too large"), Code.BAD_REQUEST),
    ],
)
def test_each_fault_has_a_code(error: DatabaseFault, code: Code) -> None:
    found = node_error(error, "writing")
    assert found.code is code
    assert found.text == f"writing: {error}"
    assert is_of_one_operation(found) == (code in (Code.INTERNAL, Code.BAD_REQUEST))


def test_a_failed_sync_is_known() -> None:
    assert is_failed_sync(fault(sqlite3.SQLITE_IOERR_FSYNC))
    assert is_failed_sync(fault(sqlite3.SQLITE_IOERR_DIR_FSYNC))
    assert not is_failed_sync(fault(sqlite3.SQLITE_IOERR_READ))
    assert not is_failed_sync(OverflowError())


def test_text_that_is_no_utf8_is_what_sqlite_says_it_is() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute("SELECT CAST(x'ff41' AS TEXT)").fetchall()
    assert node_error(raised.value, "reading").code is Code.CORRUPT
    connection.close()
