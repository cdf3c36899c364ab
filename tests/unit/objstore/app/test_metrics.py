"""Figures: counting, adding up over processes, the text format."""

import asyncio
import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from objstore.app.metrics import (
    Family,
    MetricsSocket,
    RequestFigures,
    Sample,
    counter,
    gauge,
    merge,
    process_families,
    render,
    rpc_families,
)
from objstore.rpc.counters import RpcCounters


def values(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def figures(*requests: tuple[str, int, float]) -> RequestFigures:
    made = RequestFigures()
    for method, status, seconds in requests:
        made.add(method, status, seconds, 10, 100)
    return made


def test_requests_are_counted_by_operation_and_code() -> None:
    found = values(render(figures(("GET", 200, 0.003), ("GET", 200, 3.0), ("PUT", 503, 99.0)).families()))
    assert found["objstore_requests_total", (("code", "200"), ("operation", "GET"))] == 2
    assert found["objstore_requests_total", (("code", "503"), ("operation", "PUT"))] == 1
    assert found["objstore_request_bytes_total", (("direction", "out"),)] == 300


def test_latency_buckets_are_cumulative() -> None:
    found = values(render(figures(("GET", 200, 0.003), ("GET", 200, 3.0), ("GET", 200, 99.0)).families()))
    name = "objstore_request_duration_seconds"
    buckets = {dict(labels)["le"]: value for (key, labels), value in found.items() if key == f"{name}_bucket"}
    assert (buckets["0.0025"], buckets["0.005"], buckets["5.0"], buckets["+Inf"]) == (0, 1, 2, 3)
    assert found[f"{name}_count", (("operation", "GET"),)] == 3
    assert abs(found[f"{name}_sum", (("operation", "GET"),)] - 102.003) < 1e-6


def test_processes_are_added_up() -> None:
    one, two = figures(("GET", 200, 0.1)), figures(("GET", 200, 0.1), ("PUT", 201, 0.1))
    found = values(render(merge([one.families(), two.families()])))
    assert found["objstore_requests_total", (("code", "200"), ("operation", "GET"))] == 2
    assert found["objstore_requests_total", (("code", "201"), ("operation", "PUT"))] == 1


def test_different_labels_stay_apart() -> None:
    parts = [[gauge("objstore_free", "Free.", n, {"device": f"d{n}"})] for n in range(3)]
    assert [sample.value for sample in merge(parts)[0].samples] == [0, 1, 2]


def test_labels_are_escaped() -> None:
    found = values(render([counter("objstore_x_total", "X.", 1, {"device": 'a"b\\c\nd'})]))
    assert found == {("objstore_x_total", (("device", 'a"b\\c\nd'),)): 1}


def test_rpc_and_process_figures_render() -> None:
    counters = RpcCounters()
    counters.calls["PutObject", "ok"] += 4
    found = values(render([*rpc_families(counters, "client"), *process_families("p")]))
    assert found["objstore_rpc_calls_total", (("code", "ok"), ("method", "PutObject"), ("side", "client"))] == 4
    assert found["objstore_process_resident_memory_bytes", (("process", "p"),)] > 1 << 20


def collector(value: float) -> list[Family]:
    return [Family("objstore_requests_total", "counter", "Requests.", [Sample("objstore_requests_total", {}, value)])]


async def test_one_process_answers_for_all(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 200)  # longer than a Unix socket's address may be
    sockets = [MetricsSocket(str(deep), f"p{n}", [lambda n=n: collector(10**n)]) for n in range(3)]  # type: ignore[misc]
    for one in sockets:
        await one.start()
    answers = [values(await one.gather()) for one in sockets]
    assert answers == [{("objstore_requests_total", ()): 111}] * 3
    await sockets[2].stop()
    assert values(await sockets[0].gather()) == {("objstore_requests_total", ()): 11}
    for one in sockets[:2]:
        await one.stop()
    assert os.listdir(deep) == []


async def test_a_dead_process_is_forgotten_and_a_hung_one_not_waited_for(tmp_path: Path) -> None:
    alive, dead = MetricsSocket(str(tmp_path), "alive", [lambda: collector(1)]), MetricsSocket(str(tmp_path), "dead", [])
    await alive.start()
    await dead.start()
    assert dead._server is not None
    dead._server.close()  # as a kill would leave it: the file stays, nobody listens
    await asyncio.sleep(0)
    assert values(await alive.gather()) == {("objstore_requests_total", ()): 1}
    assert len(os.listdir(tmp_path)) == 1
    await alive.stop()
