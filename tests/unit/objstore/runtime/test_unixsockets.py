"""Unix sockets beside TCP ports: their names, who may take them, and when they are not used."""

import os
import socket
from collections.abc import Iterator

import pytest

from objstore.runtime.unixsockets import address_of, bound_beside, connected_beside, is_unix, name_of, peer_of


@pytest.fixture
def port() -> Iterator[int]:
    """One that nobody else uses meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("address", [("127.0.0.1", 6200), ("fd00::1", 6201)])
def test_names(address: tuple[str, int]) -> None:
    assert name_of(*address) == f"\0objstore/{address[0]}/{address[1]}"
    assert address_of(name_of(*address)) == address_of(name_of(*address).encode()) == address


@pytest.mark.parametrize("name", ["", b"", "/tmp/socket", "\0other/127.0.0.1/80", "\0objstore/127.0.0.1/x", ("127.0.0.1", 1)])
def test_names_of_others(name: object) -> None:
    assert address_of(name) is None


def test_both_ends_know_the_process_and_user_of_the_other(port: int) -> None:
    with bound_beside("127.0.0.1", port) as listener:
        assert connected_beside("127.0.0.1", port) is None, "nobody listens yet"
        listener.listen()
        near = connected_beside("127.0.0.1", port)
        assert near is not None and is_unix(near)
        far, _ = listener.accept()
        with near, far:
            assert peer_of(near) == peer_of(far) == (os.getpid(), os.geteuid())
    assert connected_beside("127.0.0.1", port) is None, "nothing is left of it"


def test_a_name_is_taken_once(port: int) -> None:
    with bound_beside("127.0.0.1", port), pytest.raises(OSError, match="in use"):
        bound_beside("127.0.0.1", port)


@pytest.mark.parametrize("ip", ["198.51.100.7", "2001:db8::7", "localhost"])
def test_an_address_of_another_host_is_left_to_tcp(ip: str, port: int) -> None:
    """As a process that outlived its address would be found here while another host answers there."""
    with bound_beside(ip, port) as listener:
        listener.listen()
        assert connected_beside(ip, port) is None


def test_a_full_queue_is_not_waited_for(port: int) -> None:
    with bound_beside("127.0.0.1", port) as listener:
        listener.listen(0)
        made = [connected_beside("127.0.0.1", port) for _ in range(3)]
        assert made[0] is not None and made[-1] is None
        for one in made:
            if one is not None:
                one.close()


def test_names_too_long_are_left_to_tcp() -> None:
    assert connected_beside("1" * 200, 1) is None
    with pytest.raises(OSError, match="too long"):
        bound_beside("1" * 200, 1)


def test_what_is_no_unix_socket_has_no_known_user() -> None:
    with socket.socket() as tcp:
        assert not is_unix(tcp) and peer_of(tcp)[1] != os.geteuid()
