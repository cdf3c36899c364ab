"""Where a test may end the process on the way of an object's change; every name must be reachable."""

BEFORE_COMMIT = "object.before_commit"  # checked and encoded, nothing on disk
AFTER_COMMIT = "object.after_commit"  # durable, the container not told
AFTER_INDEX = "object.after_index"  # the container told, the pending record not cleared
BEFORE_REPLY = "object.before_reply"
UPLOAD_PIECE = "object.upload.after_piece"  # part of a large body in its temporary file
LOG_WRITTEN = "object.pending.after_append"  # record synced, object not yet named
QUARANTINE_RECORD = "object.quarantine.after_record"  # reason written, the file not yet moved
QUARANTINE_MOVED = "object.quarantine.after_move"
REMOVAL_OLDER_GONE = "object.removal.older_gone"  # all but the newest file of an object removed

CRASH_POINTS = (
    BEFORE_COMMIT,
    AFTER_COMMIT,
    AFTER_INDEX,
    BEFORE_REPLY,
    UPLOAD_PIECE,
    LOG_WRITTEN,
    QUARANTINE_RECORD,
    QUARANTINE_MOVED,
    REMOVAL_OLDER_GONE,
)
