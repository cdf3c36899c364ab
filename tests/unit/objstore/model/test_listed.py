"""How a version is listed."""

from objstore.model.listed import container_of, row_of
from objstore.model.rows import ObjectRow
from objstore.model.version import Version

DATA = Version("/a/c/o/p", 10, size=3, etag="e", content_type="t/t")


def test_an_object() -> None:
    assert container_of(DATA.name) == "/a/c"
    assert row_of(DATA) == ObjectRow("o/p", 10, False, 3, "e", "t/t", 10, 10)


def test_a_deletion() -> None:
    assert row_of(Version("/a/c/o", 10, deleted=True)) == ObjectRow("o", 10, True, meta_timestamp=10)


def test_a_manifest_is_listed_as_what_it_stands_for() -> None:
    row = row_of(Version("/a/c/o", 10, size=3, etag="e", system={"listed-size": "99", "listed-etag": "whole"}))
    assert (row.size, row.etag) == (99, "whole")


def test_when_it_expires() -> None:
    assert row_of(Version("/a/c/o", 10, headers={"x-delete-at": "1800000000"})).delete_at == 1_800_000_000
