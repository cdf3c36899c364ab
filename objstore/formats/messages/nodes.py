"""What a node says about itself, and refusals."""

import msgspec

from objstore.formats.messages.addressing import Message
from objstore.model.errors import NodeError
from objstore.model.lost import NONE, Lost


class NodeStatus(Message, frozen=True):
    """What `objstore status` shows of one node. Reply: NodeReport."""


class DeviceReport(msgspec.Struct, array_like=True, frozen=True):
    device: str
    state: str  # "ok", or one plain line why it is refused
    bytes_total: int
    bytes_free: int
    pending_updates: int
    quarantined: int
    path: str = ""  # the device's directory on its node


class DaemonState(msgspec.Struct, array_like=True, frozen=True):
    """One background job of a process. `done` of `total` in the pass under way (0 of 0: not known)."""

    name: str
    busy: bool
    done: int
    total: int
    passes: int
    failures: int
    last_pass_s: float
    last_end_s: float  # wall clock, 0 before the first pass
    figures: dict[str, int]  # of the last pass


class NodeReport(Message, frozen=True):
    node: str
    version: str
    pid: int
    started_s: float
    devices: list[DeviceReport]
    rings: dict[str, str]  # ring name -> first 12 hex digits of the md5 of the ring file
    daemons: list[DaemonState] = []


class TellAge(Message, frozen=True):
    """How long the cluster has been up, as the caller counts it. Reply: ClusterAge."""

    age_s: float


class ClusterAge(Message, frozen=True):
    """The same as the answering process counts it, and its wall clock (seconds since the epoch)."""

    age_s: float
    now_s: float


class RunDaemon(Message, frozen=True):
    """One pass of a daemon in the process that owns the devices. Reply: DaemonReport."""

    name: str


class DaemonReport(Message, frozen=True):
    figures: dict[str, int]


class ListQuarantine(Message, frozen=True):
    device: str


class QuarantineEntry(msgspec.Struct, array_like=True, frozen=True):
    id: str
    path: str  # where it was, relative to the device
    reason: str
    name: str  # "/a/c/o", "" when unreadable
    time_s: float
    superseded: bool = False  # the object was repaired, written or deleted since


class QuarantineList(Message, frozen=True):
    entries: list[QuarantineEntry]


class RestoreQuarantine(Message, frozen=True):
    """Put one quarantined file back where it was. Reply: Ready. Refused: not_found, corrupt (its checksums still fail),
    newer_exists (the object was repaired, written or deleted since).
    """

    device: str
    id: str


class Refused(Message, frozen=True):
    """A refusal on the wire; callers see it as NodeError."""

    code: str
    text: str
    timestamp: int = 0
    lost: Lost = NONE

    @classmethod
    def of(cls, error: NodeError) -> "Refused":
        """What crosses the wire for an error."""
        return cls(error.code, error.text, error.timestamp, error.lost)
