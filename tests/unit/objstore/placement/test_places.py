"""Where names live, and that a new ring is followed at once."""

from array import array

import pytest

from objstore.formats.messages import Address, IndexTarget
from objstore.model.errors import Unavailable
from objstore.model.names import ObjectName
from objstore.placement.places import Placement, Rings
from ring.device import Device
from ring.fileformat import RingTable
from ring.hashing import hash_path
from ring.ring import Ring

NAME = ObjectName("a", "c", "o")


def ring(first: int, replicas: int, devices: int = 6) -> Ring:
    """Replica i of every partition on device first + i (but for the last partition: there on all others, as handoffs)."""
    made = tuple(Device(i, 1, i, "127.0.0.1", 6000 + i, f"d{i}", 1.0) for i in range(devices))
    rows = tuple(array("H", [(first + i) % devices] * 15 + [(first - 1 - i) % devices]) for i in range(replicas))
    return Ring(RingTable(made, rows, 28, 1))


def rings(objects: int = 3, containers: int = 3) -> Rings:
    return Rings(ring(0, 3), ring(1, containers), {0: ring(2, objects)}, b"p", b"s")


def test_an_object_and_its_container_replicas() -> None:
    place = Placement(rings()).object(NAME, 0)
    assert (place.name, place.hash, place.index_replicas) == ("/a/c/o", hash_path(b"p", b"s", "a", "c", "o"), 3)
    assert [replica.address.port for replica in place.replicas] == [6002, 6003, 6004]
    container = hash_path(b"p", b"s", "a", "c")
    assert [(index.port, index.device, index.hash) for index in place.index] == [
        (6002, "d2", container),
        (6003, "d3", container),
        (6001, "d1", container),
    ]


def test_a_process_informs_itself_where_it_can() -> None:
    """Then the loss of a node breaks one pair, not two."""
    held = rings()
    for first in range(6):
        held.container = ring(first, 3)
        place = Placement(held).object(NAME, 0)
        ports, told = [replica.address.port for replica in place.replicas], [index.port for index in place.index]
        assert len(set(told)) == 3
        assert all(own == other for own, other in zip(ports, told, strict=True) if own in told)


@pytest.mark.parametrize(("objects", "containers", "ports"), [(2, 3, [6002, 6003]), (4, 3, [6002, 6003, 6001, 6001])])
def test_unequal_numbers_of_replicas(objects: int, containers: int, ports: list[int]) -> None:
    place = Placement(rings(objects, containers)).object(NAME, 0)
    assert [index.port for index in place.index] == ports


def test_a_container_reports_to_its_account() -> None:
    placement = Placement(rings())
    place = placement.container("a", "c")
    account = hash_path(b"p", b"s", "a")
    assert place.parents[0] == IndexTarget("127.0.0.1", 6000, "d0", placement.account("a").replicas[0].target.partition, account)
    assert placement.account("a").parents == (None, None, None)


def test_handoffs_are_no_primaries() -> None:
    placement = Placement(rings())
    place = placement.object(NAME, 0)
    handoffs = list(placement.handoffs(place))
    assert handoffs
    assert not set(handoffs) & set(place.replicas)
    moved = placement.around(place, [1])
    assert moved is not None
    assert (moved.replicas[0], moved.replicas[1], moved.index) == (place.replicas[0], handoffs[0], place.index)
    assert placement.around(place, [0, 1, 2, 0, 1, 2, 0, 1, 2]) is None


def test_a_new_ring_is_followed() -> None:
    held = rings()
    placement = Placement(held)
    placement.object(NAME, 0), placement.account("a"), placement.container("a", "c")
    held.objects[0], held.container, held.account = ring(4, 3), ring(5, 3), ring(3, 3)
    place = placement.object(NAME, 0)
    assert place.replicas[0].address == Address("127.0.0.1", 6004)
    assert [index.port for index in place.index] == [6001, 6005, 6000]
    assert placement.container("a", "c").replicas[0].address.port == 6005
    parent = placement.container("a", "c").parents[0]
    assert parent is not None
    assert parent.port == placement.account("a").replicas[0].address.port == 6003


def test_no_ring_for_the_policy() -> None:
    with pytest.raises(Unavailable):
        Placement(rings()).object(NAME, 7)


def test_what_it_remembers_is_bounded() -> None:
    placement = Placement(rings(), entries_max=4)
    for i in range(50):
        placement.object(ObjectName(f"a{i}", f"c{i}", f"o{i}"), 0)
    assert max(map(len, (placement._accounts, placement._containers, placement._partitions))) <= 4


def test_daemons_find_the_holders_of_a_partition() -> None:
    placement = Placement(rings())
    place, above = placement.object(NAME, 0), placement.table("/a/c")
    assert placement.primaries(0, place.replicas[0].target.partition) == place.replicas
    assert (
        placement.primaries("container", above.replicas[0].target.partition)
        == above.replicas
        == placement.container("a", "c").replicas
    )
    account = placement.account("a")
    assert placement.primaries("account", account.replicas[0].target.partition) == account.replicas
    assert placement.table("/a") == placement.account("a")
    with pytest.raises(IndexError):
        placement.primaries("account", 1 << 16)
    with pytest.raises(Unavailable):
        placement.primaries(4, 0)


def test_rows_find_their_container_after_a_ring_change() -> None:
    held = rings()
    placement = Placement(held)
    index = placement.object(NAME, 0).index
    assert [placement.index_now("/a/c", one) for one in index] == list(index)
    held.container = ring(3, 3)
    moved = [placement.index_now("/a/c", one) for one in index]
    now = placement.object(NAME, 0).index
    assert set(moved) <= set(now) and moved == [placement.index_now("/a/c", one) for one in index]
    assert all(one == then for one, then in zip(moved, index, strict=True) if then in now)
