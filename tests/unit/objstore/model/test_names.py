import pytest

from objstore.model.errors import InvalidInput
from objstore.model.names import ObjectName, check_container_name, check_object_name


def test_names() -> None:
    assert str(ObjectName("a", "c", "x/../y")) == "/a/c/x/../y"
    check_container_name("ä" * 128)
    check_object_name("x" * 1024)


@pytest.mark.parametrize("name", ["", "a/b", "c" * 257, "ä" * 129])
def test_bad_container_names(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_container_name(name)


def test_long_object_names() -> None:
    with pytest.raises(InvalidInput, match="Object name length of 1025 longer than 1024"):
        check_object_name("o" * 1025)
