"""The body of a successful read: joined to its head when it is small, a stream otherwise."""

from objstore.api.reply import JOIN_BYTES_MAX, Fields, Reply
from objstore.model.ranges import Span
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import ObjectRead


async def body_reply(read: ObjectRead, status: int, fields: Fields, span: Span | None, *, head: bool) -> Reply:
    """The response with the bytes of `span`, or of the whole. Closes `read`, now or when the response is sent."""
    length = read.size if span is None else span.length
    if head:
        await read.close()
        return Reply(status, fields, length=length)
    if length <= JOIN_BYTES_MAX:
        try:
            pieces = read.body(span)
            body = pieces.data if isinstance(pieces, InMemory) else b"".join([piece async for piece in pieces])
        finally:
            await read.close()
        return Reply(status, fields, body, length=length)
    return Reply(status, fields, stream=read.body(span), length=length, done=read.close)
