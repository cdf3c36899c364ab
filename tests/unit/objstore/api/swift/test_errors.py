"""The table of failures is complete, and each renders what Swift's clients look for."""

import pytest

from objstore.api.swift.errors import STATUS, Refusal, error_reply, status_of
from objstore.model import errors
from objstore.model.errors import StoreError
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version


def kinds() -> list[type[StoreError]]:
    """Every failure the core can raise; Refusal is this API's own."""
    found, waiting = [], [StoreError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__ == errors.__name__:
                found.append(kind)
    return found


def test_every_failure_has_a_status() -> None:
    assert set(kinds()) == set(STATUS)
    assert len(kinds()) >= 17


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__init__ is StoreError.__init__])
def test_plain_failures(kind: type[StoreError]) -> None:
    silent, spoken = error_reply(kind(), "AUTH_a"), error_reply(kind("<why>"), "AUTH_a")
    assert silent.status == STATUS[kind] and silent.body.startswith(b"<html><h1>")
    assert spoken.body == b"&lt;why&gt;"
    assert dict(silent.fields)["Content-Type"] == "text/html; charset=UTF-8"


def test_not_authenticated() -> None:
    fields = dict(error_reply(errors.NotAuthenticated(), 'AUTH_"\n').fields)
    assert fields["Www-Authenticate"] == 'Swift realm="AUTH_%22%0A"'


def test_unavailable_says_when_to_come_back() -> None:
    assert dict(error_reply(errors.Unavailable(), "").fields)["Retry-After"] == "1"


VERSION = Version("/a/c/o", from_seconds(1_000_000.5), etag="m" * 32, meta_timestamp=from_seconds(1_000_002.0))


@pytest.mark.parametrize(
    "error",
    [
        errors.NotModified("e", VERSION.timestamp, VERSION),
        errors.PreconditionFailed("", "e", VERSION),
        errors.RangeNotSatisfiable(7, "e", VERSION.timestamp, VERSION),
    ],
)
def test_failures_about_a_version_show_it(error: StoreError) -> None:
    fields = dict(error_reply(error, "").fields)
    assert fields["Etag"] == "e"
    assert fields["Last-Modified"] == "Mon, 12 Jan 1970 13:46:42 GMT"
    assert fields["X-Timestamp"] == "0001000002.00000"


def test_large_objects_are_quoted() -> None:
    reply = error_reply(errors.RangeNotSatisfiable(7, "e", 0, VERSION, "slo", parts=3), "")
    fields = dict(reply.fields)
    assert fields["Etag"] == '"e"' and fields["X-Manifest-Etag"] == "m" * 32
    assert fields["Content-Range"] == "bytes */7" and fields["X-Parts-Count"] == "3"
    assert fields["X-Static-Large-Object"] == "True"


def test_a_client_that_left_ends_its_connection() -> None:
    assert error_reply(errors.BodyIncomplete(), "").close and error_reply(errors.BodyTimeout(), "").close
    assert not error_reply(errors.TooLarge(), "").close


def test_refusals_bring_their_own_status() -> None:
    assert status_of(Refusal(418)) == 418
    assert error_reply(Refusal(405, fields=[("Allow", "GET")]), "").fields[-1] == ("Allow", "GET")
