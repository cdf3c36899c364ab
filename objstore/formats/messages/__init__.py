"""The typed messages between nodes. A request's class is its method; `REGISTRY` lists them all by name.

Encoded as msgpack arrays: a later version appends fields with defaults, and an older peer ignores what it does not know.
"""

from objstore.formats.messages.addressing import Address, IndexTarget, Message, Target
from objstore.formats.messages.nodes import (
    DaemonReport,
    DeviceReport,
    ListQuarantine,
    NodeReport,
    NodeStatus,
    QuarantineEntry,
    QuarantineList,
    Refused,
    RestoreQuarantine,
    RunDaemon,
)
from objstore.formats.messages.objects import (
    CommitPut,
    DeleteObject,
    End,
    GetObject,
    ObjectFiles,
    ObjectReply,
    OpenPut,
    PostObject,
    Pushed,
    PushObject,
    PutObject,
    ReadObject,
    Ready,
    StatObject,
    Stored,
)
from objstore.formats.messages.tables import (
    ContainerPage,
    Kind,
    ListTable,
    MergeContainerRows,
    MergeObjectRows,
    ObjectPage,
    Query,
    RevokeLease,
    Setting,
    Settings,
    Stats,
    StatTable,
    TableInfo,
    TableWritten,
    WriteTable,
)

REGISTRY: dict[str, type[Message]] = {
    cls.__name__: cls
    for cls in (
        PutObject, OpenPut, Ready, CommitPut, PostObject, DeleteObject, Stored, GetObject, ObjectReply, ReadObject, End,
        StatObject, ObjectFiles, PushObject, Pushed, WriteTable, TableWritten, StatTable, TableInfo, RevokeLease, ListTable,
        ObjectPage, ContainerPage, MergeObjectRows, MergeContainerRows, NodeStatus, NodeReport, RunDaemon, DaemonReport,
        ListQuarantine, QuarantineList, RestoreQuarantine, Refused,
    )
}  # fmt: skip

__all__ = [
    
    "REGISTRY",
    "Address",
    "CommitPut",
    "ContainerPage",
    "DaemonReport",
    "DeleteObject",
    "DeviceReport",
    "End",
    "GetObject",
    "IndexTarget",
    "Kind",
    "ListQuarantine",
    "ListTable",
    "MergeContainerRows",
    "MergeObjectRows",
    "Message",
    "NodeReport",
    "NodeStatus",
    "ObjectFiles",
    "ObjectPage",
    "ObjectReply",
    "OpenPut",
    "PostObject",
    "PushObject",
    "Pushed",
    "PutObject",
    "QuarantineEntry",
    "QuarantineList",
    "Query",
    "ReadObject",
    "Ready",
    "Refused",
    "RestoreQuarantine",
    "RevokeLease",
    "RunDaemon",
    "Setting",
    "Settings",
    "StatObject",
    "StatTable",
    "Stats",
    "Stored",
    "TableInfo",
    "TableWritten",
    "Target",
    "WriteTable",
,
]
