"""What a failed SQLite call means: SQLite's result codes (https://www.sqlite.org/rescode.html) in a node's terms."""

import sqlite3

from objstore.model.errors import Code, NodeError
from objstore.tables.schema import ForeignContents, WrongSchema

_PRIMARY_CODE = 0xFF  # the low byte; the rest of an extended code is detail
_CODES = {
    sqlite3.SQLITE_CORRUPT: Code.CORRUPT,
    sqlite3.SQLITE_NOTADB: Code.CORRUPT,
    sqlite3.SQLITE_FULL: Code.NO_SPACE,
    sqlite3.SQLITE_BUSY: Code.BUSY,
    sqlite3.SQLITE_LOCKED: Code.BUSY,
    sqlite3.SQLITE_NOMEM: Code.BUSY,
    sqlite3.SQLITE_IOERR: Code.DEVICE_FAILED,
    sqlite3.SQLITE_READONLY: Code.DEVICE_FAILED,
    sqlite3.SQLITE_CANTOPEN: Code.DEVICE_FAILED,
    sqlite3.SQLITE_PERM: Code.DEVICE_FAILED,
    sqlite3.SQLITE_CONSTRAINT: Code.BAD_REQUEST,
}
_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
_OURS = (Code.INTERNAL, Code.BAD_REQUEST)

DatabaseFault = sqlite3.Error | WrongSchema | ForeignContents | OverflowError | UnicodeEncodeError
FAULTS = (sqlite3.Error, WrongSchema, ForeignContents, OverflowError, UnicodeEncodeError)
"""All that working with a database can raise, beside NodeError and OSError."""


def node_error(fault: DatabaseFault, doing: str) -> NodeError:
    """The refusal for a failed database call."""
    return NodeError(_code(fault), f"{doing}: {fault}")


def _code(fault: DatabaseFault) -> Code:
    if isinstance(fault, ForeignContents):
        return Code.CORRUPT
    if isinstance(fault, WrongSchema):  # a later release's database is no reason to quarantine it
        return Code.DEVICE_FAILED
    if isinstance(fault, OverflowError | UnicodeEncodeError):  # a value that no column can hold
        return Code.BAD_REQUEST
    code = getattr(fault, "sqlite_errorcode", None)
    if code is None:  # raised by Python's module: text that is no UTF-8, else a defect of ours
        return Code.CORRUPT if isinstance(fault, sqlite3.OperationalError) else Code.INTERNAL
    return _CODES.get(code & _PRIMARY_CODE, Code.INTERNAL)


def is_of_one_operation(error: NodeError) -> bool:
    """Whether the error may stem from one operation of a group, the others being sound."""
    return error.code in _OURS


def is_failed_sync(fault: BaseException) -> bool:
    """Whether the kernel could not make data durable: nothing it says afterwards about this device means anything."""
    return isinstance(fault, sqlite3.Error) and getattr(fault, "sqlite_errorcode", None) in _SYNC_FAILED
