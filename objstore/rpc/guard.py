"""The outermost wrapper of a node's services: whatever a handler raises becomes a refusal, and a defect becomes one log line."""

import logging
import traceback

from objstore.formats.messages import Message, Refused
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import AtOnce, CallContext, Dispatcher, Exchange, Handler, PeerUnavailable

logger = logging.getLogger("objstore.rpc")


def at_once(handler: AtOnce, request: Message, context: CallContext) -> Message | None:
    """As `answer`, for what needs no wait; None for what does."""
    try:
        return handler(request, context)
    except NodeError as error:
        return Refused.of(error)
    except Exception as error:
        return _defect(request, context, error)


async def answer(handler: Handler, request: Message, context: CallContext) -> Message:
    """The handler's reply, or a Refused for whatever it raises but cancellation."""
    try:
        return await handler(request, context)
    except NodeError as error:
        return Refused.of(error)
    except Exception as error:
        return _defect(request, context, error)


def _defect(request: Message, context: CallContext, error: Exception) -> Refused:
    log_defect("handler failed", type(request).__name__, context.txn, error)
    return Refused(Code.INTERNAL, f"{type(request).__name__} failed: {type(error).__name__}")


async def serve_stream(dispatcher: Dispatcher, request: Message, exchange: Exchange, context: CallContext) -> str:
    """Run the stream handler of `request`; returns "ok" or the code it refused with. Raises PeerUnavailable when the caller
    has left.
    """
    method = type(request).__name__
    try:
        handler = dispatcher.stream_handlers.get(type(request))
        if handler is None:
            raise NodeError(Code.BAD_REQUEST, f"this node does not answer {method} on a stream")
        await handler(request, exchange, context)
        return "ok"
    except NodeError as error:
        await exchange.refuse(error)
        return error.code
    except PeerUnavailable:
        raise
    except Exception as error:
        log_defect("stream handler failed", method, context.txn, error)
        await exchange.refuse(error)
        return Code.INTERNAL


def log_defect(event: str, method: str, txn: str, error: Exception) -> None:
    """One line, with the place in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    logger.error(event, extra={"txn": txn, "method": method, "error": repr(error), "where": where})


def node_error(refused: Refused) -> NodeError:
    """The exception for a refusal; a code of a later version counts as internal."""
    try:
        code = Code(refused.code)
    except ValueError:
        return NodeError(Code.INTERNAL, f"{refused.code}: {refused.text}", refused.timestamp)
    return NodeError(code, refused.text, refused.timestamp, refused.lost)
