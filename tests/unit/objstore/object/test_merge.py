import pytest

from objstore.model.listed import container_of, row_of
from objstore.model.version import Version
from objstore.object.merge import merge_meta, normal, valid_name

DATA = Version("/a/c/o/p", 10, size=3, etag="e", content_type="t/t", headers={"h": "1"}, user={"u": "1"}, system={"s": "1"})


def test_a_post_replaces_headers_and_user_metadata() -> None:
    meta = Version("/a/c/o/p", 20, headers={"x": "2"}, meta_timestamp=20)
    merged = merge_meta(normal(DATA), meta)
    assert (merged.headers, merged.user, merged.system) == ({"x": "2"}, {}, {"s": "1"})
    assert (merged.timestamp, merged.meta_timestamp, merged.type_timestamp) == (10, 20, 10)
    assert (merged.content_type, merged.size, merged.etag) == ("t/t", 3, "e")


@pytest.mark.parametrize(("when", "expected"), [(0, "t/t"), (9, "t/t"), (10, "t/t"), (11, "n/n"), (20, "n/n")])
def test_a_content_type_counts_when_given_after_the_data(when: int, expected: str) -> None:
    meta = Version("/a/c/o/p", 20, content_type="n/n", meta_timestamp=20, type_timestamp=when)
    merged = merge_meta(normal(DATA), meta)
    assert merged.content_type == expected
    assert merged.type_timestamp == (when if expected == "n/n" else 10)


def test_rows() -> None:
    assert row_of(normal(DATA)) == row_of(DATA)
    assert row_of(merge_meta(DATA, Version("/a/c/o/p", 20, headers={"x-delete-at": "1800000000"}))).delete_at == 1_800_000_000


@pytest.mark.parametrize("name", ["/a/c/o", "/a/c/o/", "/a/c//", "/a b/ü/o\x01"])
def test_names(name: str) -> None:
    assert valid_name(name)
    assert container_of(name) + "/" == name[: len(container_of(name)) + 1]


@pytest.mark.parametrize("name", ["", "/", "a/c/o", "/a/c", "/a/c/", "//c/o", "/a//o", "x/a/c/o"])
def test_no_names(name: str) -> None:
    assert not valid_name(name)
