"""The profile: samples land with the thread that works, each in one part of the store, and the parts sum to the whole."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.inside import inside
from bench.profile import categories
from bench.profile.categories import category
from bench.profile.measuring import Group, Spending, Spot, Used, role, stacks
from bench.profile.report import by_category, by_thread

ROOT = Path(__file__).resolve().parents[3]
BUSY = """
import json, threading, time, os
from bench.inside import WHERE, Inside

def waits(): time.sleep(0.5)
def works():
    end = time.thread_time() + 0.4
    while time.thread_time() < end: sum(range(1000))

threads = [threading.Thread(target=target, name=target.__name__) for target in (waits, works)]
for thread in threads: thread.start()
inside = Inside("sampler", __import__("pathlib").Path(os.environ[WHERE]))
inside.ask(os.getpid(), "on")
for thread in threads: thread.join()
inside.ask(os.getpid(), "off")
print(json.dumps(inside.ask(os.getpid(), "threads")))
"""


def test_the_thread_that_works_is_seen_where_it_works() -> None:
    with inside("sampler") as measured:
        environment = {**os.environ, **measured.environment}
        done = subprocess.run(
            [sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        seen = {}
        for native_id, name in json.loads(done.stdout).items():
            with (measured.directory / f"{native_id}.stacks").open() as file:
                seen[name] = [[function for _, function in stack] for stack in stacks(file)]
    assert len(seen["works"]) >= 20, "0.4 s of CPU are 40 ticks of the slowest kernel's clock"
    assert all("works" in stack for stack in seen["works"])
    assert seen["waits"] == []


CHECKOUT = str(ROOT)
LIBRARY = f"{ROOT}/.venv/lib/python3.11/site-packages"
STDLIB = "/usr/lib/python3.11"
LOOP = [f"{STDLIB}/asyncio/runners.py", f"{LIBRARY}/uvloop/__init__.py", f"{CHECKOUT}/objstore/app/process.py"]
HANDLER = [f"{CHECKOUT}/objstore/api/edge.py", f"{LIBRARY}/aiohttp/web_protocol.py", *LOOP]


@pytest.mark.parametrize(
    ("innermost", "role", "expected"),
    [
        ([], "proxy", categories.EDGE),
        (["objstore/proxy/reads.py"], "proxy", categories.PROXY),
        (["objstore/model/names.py", "objstore/proxy/access.py"], "proxy", categories.AUTH),
        (["objstore/formats/messages/objects.py", "objstore/rpc/codec.py"], "proxy", categories.RPC_PROXY),
        (["objstore/formats/messages/objects.py", "objstore/rpc/codec.py"], "node", categories.RPC_NODE),
        (["objstore/runtime/filesystem.py", "objstore/object/writer.py"], "node", categories.DISK),
        (["objstore/runtime/disk.py", "objstore/object/auditor.py", "objstore/runtime/worker.py"], "node", categories.BACKGROUND),
        (["objstore/something/new.py", "objstore/container/store.py"], "node", categories.ROWS),
    ],
)
def test_a_stack_belongs_to_its_innermost_part(innermost: list[str], role: str, expected: str) -> None:
    assert category([*(f"{CHECKOUT}/{path}" for path in innermost), *HANDLER], role) == expected


def test_a_stack_that_tells_nothing_is_rest() -> None:
    assert category(LOOP, "node") == categories.LOOP
    assert category([], "node") == categories.LOOP


def test_libraries_are_told_from_the_checkout_around_them() -> None:
    assert category([f"{STDLIB}/logging/__init__.py", *HANDLER], "proxy") == categories.LOGGING
    assert categories.place(f"{LIBRARY}/yarl/_url.py") == "yarl/_url.py"


def test_every_rule_fits_a_file() -> None:
    """A rule for a file that has gone would send its successor's time elsewhere without a word."""
    assert [path for path, _ in categories.RULES if path.startswith(("objstore/", "ring/")) and not (ROOT / path).exists()] == []


def test_roles() -> None:
    assert role(["python", "-m", "objstore.app.process", "storage", "--config", "x"]) == "node"
    assert role(["python", "-m", "objstore.app.process", "public", "--config", "x"]) == "proxy"
    assert role(["python", "-m", "objstore.app", "dev"]) == "supervisor"


def test_the_parts_sum_to_what_was_measured() -> None:
    loop, commits, idle = Group("proxy", "event loop"), Group("node", "commit-*"), Group("node", "others")
    used = Used(Counter({loop: 0.3, commits: 0.1, idle: 0.002}), Counter({loop: 0.1, commits: 0.05}), 0.41)
    spending = Spending(1000, used, 1000, used)
    spending.seen[loop].update({Spot(categories.EDGE, "a"): 3, Spot(categories.PROXY, "b"): 1})
    spending.seen[commits].update({Spot(categories.DISK, "c"): 5})
    parts = spending.by_category()
    assert parts[categories.EDGE] == pytest.approx(225) and parts[categories.PROXY] == pytest.approx(75)
    assert parts[categories.DISK] == pytest.approx(100) and parts[categories.LOOP] == pytest.approx(2)
    assert sum(parts.values()) == pytest.approx(spending.total_us) == pytest.approx(402)
    assert spending.by_function()[0] == (pytest.approx(225), "proxy: a")
    head, rows = by_category({"PUT": spending})
    assert head == ["", "PUT"] and [categories.EDGE, "225 (56 %)"] in rows and ["sum of the parts", "402"] in rows
    assert ["proxy: event loop", "300 (100)"] in by_thread({"PUT": spending})[1]
