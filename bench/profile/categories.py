"""Which part of the store a sampled stack belongs to: that of its innermost frame which tells.

Frames of the standard library, of values (`model`, `formats`) and of clocks tell nothing: they work for whoever called them. So a
digest is its caller's cost, and so is what the kernel does in a system call.
"""

import re
from collections.abc import Sequence

from bench.cluster import ROOT

EDGE = "edge: parse, respond"
AUTH = "auth and access"
PLACES = "container info, placement"
PROXY = "proxy core"
RPC_PROXY = "RPC, proxy side"
RPC_NODE = "RPC, node side"
OBJECT = "object server"
DISK = "disk: files, journal, syncs"
ROWS = "rows: account and container"
LOGGING = "logging"
BACKGROUND = "background jobs"
LOOP = "event loop and rest"
ORDER = (EDGE, AUTH, PLACES, PROXY, RPC_PROXY, RPC_NODE, OBJECT, DISK, ROWS, LOGGING, BACKGROUND, LOOP)

_RPC = "rpc"
_CALLER = ""
RULES: tuple[tuple[str, str], ...] = (
    ("objstore/api/", EDGE),
    ("aiohttp/", EDGE),
    ("yarl/", EDGE),
    ("multidict/", EDGE),
    ("objstore/auth/", AUTH),
    ("objstore/proxy/access.py", AUTH),
    ("objstore/proxy/infocache.py", PLACES),
    ("objstore/placement/", PLACES),
    ("ring/", PLACES),
    ("objstore/proxy/", PROXY),
    ("objstore/rpc/", _RPC),
    ("objstore/runtime/net.py", _RPC),
    ("objstore/runtime/unixsockets.py", _RPC),
    ("objstore/runtime/clock.py", _CALLER),
    ("objstore/runtime/rng.py", _CALLER),
    ("objstore/runtime/pacing.py", _CALLER),
    ("objstore/runtime/worker.py", BACKGROUND),
    ("objstore/runtime/", DISK),
    ("objstore/object/pending.py", DISK),
    ("xattr/", DISK),
    ("objstore/object/", OBJECT),
    ("objstore/tables/", ROWS),
    ("objstore/container/", ROWS),
    ("objstore/account/", ROWS),
    ("sqlite3/", ROWS),
    ("logging/", LOGGING),
    ("objstore/app/logging.py", LOGGING),
)
"""The first that fits. A file below a package that is not named here belongs to its package."""

_LIBRARY = re.compile(r".*/(?:site-packages|lib/python3\.\d+)/")


def place(path: str) -> str:
    """A file as the rules know it: relative to the checkout, or to where libraries are."""
    return path[len(str(ROOT)) + 1 :] if path.startswith(f"{ROOT}/") and "/site-packages/" not in path else _LIBRARY.sub("", path)


def category(files: Sequence[str], role: str) -> str:
    """Of a stack, the files of its frames, innermost first. `role`: "proxy" or "node"."""
    found = _CALLER
    for path in map(place, files):
        if path == "objstore/runtime/worker.py":
            return BACKGROUND  # whatever a background job does, it does for itself
        if not found:
            found = next((name for prefix, name in RULES if path.startswith(prefix)), _CALLER)
    if found == _RPC:
        return RPC_PROXY if role == "proxy" else RPC_NODE
    return found or LOOP
