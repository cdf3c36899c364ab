"""TLS of the public listener. A renewed certificate is taken up without a restart."""

import asyncio
import logging
import os
import ssl

from objstore.app.config import Proxy
from objstore.app.failure import Failure

log = logging.getLogger("objstore.tls")
LOOK_EVERY_S = 10.0


def tls_context(config: Proxy) -> ssl.SSLContext | None:
    """None when no certificate is configured. TLS 1.2 and newer. Raises Failure for files that are no certificate and key."""
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except OSError as error:  # ssl.SSLError is one
        files = f"proxy.tls_cert {config.tls_cert}, proxy.tls_key {config.tls_key}"
        raise Failure(f"{files}: {_what(error)}: give a certificate and the key it belongs to, as PEM files") from error
    return context


async def keep_fresh(context: ssl.SSLContext, config: Proxy, look_every_s: float = LOOK_EVERY_S) -> None:
    """Load the certificate again whenever its files change, until cancelled. New connections then get it; a pair that does not
    fit together (one file written, the other not yet) is tried again.
    """
    loaded = _stamp(config)
    while True:
        await asyncio.sleep(look_every_s)
        found = _stamp(config)
        if found is None or found == loaded:
            continue
        try:
            context.load_cert_chain(config.tls_cert, config.tls_key)
        except OSError as error:
            log.warning("certificate not taken up", extra={"file": config.tls_cert, "reason": _what(error)})
            continue
        loaded = found
        log.info("certificate taken up", extra={"file": config.tls_cert})


def _what(error: OSError) -> str:
    """OpenSSL's reason without the place in its source."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or error.__class__.__name__


def _stamp(config: Proxy) -> tuple[tuple[int, int], ...] | None:
    try:
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in (os.stat(config.tls_cert), os.stat(config.tls_key)))
    except OSError:
        return None
