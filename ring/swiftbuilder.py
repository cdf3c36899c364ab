"""Builder files of OpenStack Swift, read without executing anything in them.

They are pickles: programs for a small stack machine, which may call any function of Python. Here only the instructions that
build plain data are carried out; the one call allowed is that of `array.array`, which this module answers itself.
"""

from __future__ import annotations

import pickletools
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace

from ring.builder import HOUR_S, TIME_TYPECODE, BuilderError, RingBuilder
from ring.builderfile import check_shape
from ring.device import DeviceError, device_from_json
from ring.fileformat import REPLICAS_MAX, ROW_TYPECODE

LONG_AGO = 0xFF
"""Swift counts the hours since a partition moved in one byte; this is the most it can say."""
ITEMS_MAX = 1 << 28


class _Mark:
    """Where on the stack a collection starts."""


class _ArrayType:
    """Stands for array.array until it is called."""


def builder_from_swift(content: bytes) -> RingBuilder:
    """The builder in a Swift builder file, with overload, times and pending removals. Raises ValueError with the reason."""
    state = data_from_pickle(content)
    if not isinstance(state, Mapping):
        raise ValueError("it does not hold a builder")
    try:
        return _builder(state)
    except (LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("its content is damaged") from error
    except (BuilderError, DeviceError) as error:
        raise ValueError(str(error)) from error


def _builder(state: Mapping[object, object]) -> RingBuilder:
    part_power, replicas, hours = state["part_power"], state["replicas"], state["min_part_hours"]
    version, overload, entries = state.get("version", 0), state.get("overload", 0.0), state["devs"]
    if not (isinstance(part_power, int) and isinstance(hours, int) and isinstance(version, int) and isinstance(entries, list)):
        raise TypeError("a number or list is missing")
    if not isinstance(replicas, int | float) or not isinstance(overload, int | float):
        raise TypeError("a number is missing")
    builder = RingBuilder(part_power, replicas, hours)
    builder.set_overload(overload)
    builder.version = version
    builder.devices = [None if entry is None else device_from_json(entry) for entry in entries]
    for entry in _list(state["_remove_devs"]):
        id_ = entry["id"]
        device = builder.devices[id_]
        if device is None:
            raise ValueError("a device that does not exist is marked for removal")
        builder.devices[id_] = replace(device, weight=0.0)
        builder.removed.add(id_)
    builder.changed = state.get("devs_changed") is True or bool(builder.removed)
    rows = _list(state["_replica2part2dev"])
    if len(rows) > REPLICAS_MAX:
        raise ValueError(f"it has more than {REPLICAS_MAX} replicas")
    builder.rows = [array(ROW_TYPECODE, row) for row in rows]
    builder.rebalanced_at_s, builder.moved_at_s = _times(state, builder)
    check_shape(builder)
    return builder


def _times(state: Mapping[object, object], builder: RingBuilder) -> tuple[int, array[int]]:
    """When the last rebalance was, and when each partition moved. Swift stores hours before that rebalance."""
    epoch_s = state.get("_last_part_moves_epoch") or 0
    hours = _list(state["_last_part_moves"])
    if not isinstance(epoch_s, int):
        raise TypeError("the time of the last rebalance is no number")
    if not builder.rows:
        return 0, array(TIME_TYPECODE)
    moved_at_s = array(TIME_TYPECODE, (0 if one >= LONG_AGO else max(0, epoch_s - one * HOUR_S) for one in hours))
    return epoch_s, moved_at_s or array(TIME_TYPECODE, bytes(4 * builder.partition_count))


def _list(value: object) -> list:  # type: ignore[type-arg]
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def data_from_pickle(content: bytes) -> object:
    """Dicts, lists, tuples, numbers, texts, and arrays as lists. Raises ValueError for anything else, before it could act."""
    stack: list[object] = []
    memo: dict[object, object] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > ITEMS_MAX:
                raise ValueError("it is too long")
            if opcode.name == "STOP":
                return stack.pop()
            _step(opcode.name, argument, stack, memo)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("it is damaged") from error
    raise ValueError("it is cut short")


def _step(name: str, argument: object, stack: list[object], memo: dict[object, object]) -> None:
    """Carry out one instruction."""
    if name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name in _VALUES:
        stack.append(argument.decode("utf-8") if isinstance(argument, bytes) and "BYTES" not in name else argument)
    elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[argument])
    elif name == "GLOBAL" and argument == "array array":
        stack.append(_ArrayType())
    elif name in _GATHERERS:
        items = _pop_to_mark(stack)
        _GATHERERS[name](stack, items)
    elif name in _TUPLES:
        items = [stack.pop() for _ in range(_TUPLES[name])]
        stack.append(tuple(reversed(items)))
    elif name in ("APPEND", "SETITEM"):
        items = [stack.pop() for _ in range(1 if name == "APPEND" else 2)]
        _GATHERERS[name + "S"](stack, items[::-1])
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        stack.append(_array_items(function, arguments))
    elif name not in ("PROTO", "FRAME"):
        raise ValueError(f"it holds {name.lower()}, which is not plain data")


def _array_items(function: object, arguments: object) -> list[int]:
    """What calling array.array would hold: numbers given as a list, or as bytes of this machine's order."""
    if not isinstance(function, _ArrayType) or not isinstance(arguments, tuple) or len(arguments) != 2:
        raise ValueError("it calls a function, which a builder file has no need of")
    typecode, items = arguments
    if typecode not in ("H", "B", "I") or not isinstance(items, list | bytes):
        raise ValueError("it holds an array of an unknown kind")
    return array(typecode, items).tolist()


def _pop_to_mark(stack: list[object]) -> list[object]:
    place = max(i for i, item in enumerate(stack) if isinstance(item, _Mark))
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _append(stack: list[object], items: list[object]) -> None:
    target = stack[-1]
    if not isinstance(target, list):
        raise TypeError("not a list")
    target.extend(items)


def _set(stack: list[object], items: list[object]) -> None:
    target = stack[-1]
    if not isinstance(target, dict):
        raise TypeError("not a dict")
    target.update(zip(items[::2], items[1::2], strict=True))


_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
_VALUES = frozenset(
    {
        "BININT",
        "BININT1",
        "BININT2",
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "UNICODE",
    }
    | {"BINSTRING", "SHORT_BINSTRING", "STRING", "BINBYTES", "SHORT_BINBYTES"}
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GATHERERS: dict[str, Callable[[list[object], list[object]], None]] = {
    "APPENDS": _append,
    "SETITEMS": _set,
    "TUPLE": lambda stack, items: stack.append(tuple(items)),
    "LIST": lambda stack, items: stack.append(items),
    "DICT": lambda stack, items: stack.append(dict(zip(items[::2], items[1::2], strict=True))),
}
