"""Counts what each thread of a process calls: functions of the store, by file and name; and, by which of those called them,
functions in C and in libraries. What libraries call among themselves is counted as theirs.
"""

import sys
import threading
from collections import Counter
from types import CodeType, FrameType
from typing import Any

from bench.inside import ROOT, control

Called = tuple[int, str]
"""The id of a Python function's code and "", or of a Python function and the function that it called."""
LIBRARIES = "/site-packages/"


class Counts:
    """Of all threads; each has a table of its own, so that no call is lost between two."""

    def __init__(self) -> None:
        self._tables: list[dict[Called, int]] = []
        self._told: dict[int, dict[Called, int]] = {}
        self._codes: dict[int, tuple[CodeType, bool]] = {}
        """By id, since hashing code takes longer than running it; and whether it is of the checkout, not of its environment."""

    def _is_ours(self, code: CodeType) -> bool:
        known = self._codes.get(id(code))
        if known is None:
            ours = code.co_filename.startswith(f"{ROOT}/") and LIBRARIES not in code.co_filename
            known = self._codes[id(code)] = (code, ours)
        return known[1]

    def join(self) -> None:
        """Count what the calling thread calls from now on."""
        table: dict[Called, int] = {}
        self._tables.append(table)
        is_ours = self._is_ours

        def called(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call":
                code, name, caller = frame.f_code, "", frame.f_back
                if not is_ours(code) and caller is not None and is_ours(caller.f_code):
                    code, name = caller.f_code, code.co_name
            elif event == "c_call":
                code, name = frame.f_code, argument.__name__
                is_ours(code)
            else:
                return
            key = (id(code), name)
            table[key] = table.get(key, 0) + 1

        sys.setprofile(called)

    def since(self) -> list[tuple[str, str, str, int]]:
        """File, function, what it called or "", how often since this was asked last. What the asking thread does is not counted."""
        found: Counter[Called] = Counter()
        for number, table in enumerate(self._tables):
            now, before = table.copy(), self._told.get(number, {})
            self._told[number] = now
            for key, count in now.items():
                if count != (known := before.get(key, 0)):
                    found[key] += count - known
        codes = {code: self._codes[code][0] for code, _ in found}
        return [(codes[code].co_filename, codes[code].co_qualname, name, count) for (code, name), count in found.items()]


def start() -> None:
    """In this process; every thread joins when it starts."""
    counts = Counts()

    def begins(_frame: FrameType, _event: str, _argument: Any) -> None:
        sys.setprofile(None)
        if threading.current_thread().name != control.THREAD:
            counts.join()

    threading.setprofile(begins)
    control.serve({"counts": counts.since})
    counts.join()
