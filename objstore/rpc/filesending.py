"""Sends a piece of a file on a connection's socket, past its transport: the kernel takes it from its cache, so no byte of it passes
through this process. What is not cached is read meanwhile, so all of it happens in a thread that may wait for the disk.
"""

import logging

from objstore.rpc.interface import FilePiece, PeerUnavailable, RunInThread
from objstore.rpc.link import Link
from objstore.runtime.net import FileSending

logger = logging.getLogger("objstore.rpc")


async def send_file(link: Link, piece: FilePiece, run: RunInThread, timeout_s: float) -> None:
    """Send one chunk; `timeout_s` bounds each wait for the reader. When this raises, the connection is of no more use: part of the
    chunk may have left. Raises PeerTimeout, PeerUnavailable (a file that is too short or cannot be read, too), what `run` raises.
    """
    await link.empty(timeout_s)
    sending = None
    try:
        sending = FileSending(link.duplicate(), link.chunk_head(piece), piece.file, piece.start, piece.length)
        while not await run(sending.go_on):
            await link.writable(sending.connection.fileno(), timeout_s)
    except OSError as error:
        if not isinstance(error, ConnectionError):  # of the disk, most likely
            logger.warning("piece of a file not sent", extra={"peer": link.remote, "error": str(error)})
        raise PeerUnavailable(f"{link.remote}: {error}") from error
    finally:
        if sending is not None:
            sending.connection.close()
