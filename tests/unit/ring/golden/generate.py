"""Makes the golden rings anew: `python generate.py`, in an environment that has OpenStack Swift installed.

For each ring file there is a JSON file with what Swift says of it: the replica count and, per partition, the ids of the
primaries (get_part_nodes) and of the handoffs (get_more_nodes). `own.ring.gz` is written by this project's ring builder and not
made here; Swift only answers for it. `hashes.json` has path hashes, with a prefix and a suffix,
and `builder.json` tells what `swift.builder` holds.
"""

import json
from array import array
from pathlib import Path

from swift.common import utils
from swift.common.ring import Ring, RingBuilder, RingData

HERE = Path(__file__).parent


def device(id_, region, zone, ip, weight=100.0, meta="", replication_ip=""):
    name = {} if id_ is None else {"id": id_}
    entry = {**name, "region": region, "zone": zone, "ip": ip, "port": 6200, "device": f"d{id_ or 0}", "weight": weight}
    return {**entry, "meta": meta, "replication_ip": replication_ip or ip, "replication_port": 6300 if replication_ip else 6200}


def rows(partition_count, ids, replicas, step):
    total = round(partition_count * replicas)
    slots = [ids[(i * step + i // partition_count * 5 + i // 7) % len(ids)] for i in range(total)]
    return [array("H", slots[at : at + partition_count]) for at in range(0, total, partition_count)]


def answer(name, sample=None):
    ring = Ring(str(HERE / f"{name}.ring.gz"), validation_hook=lambda _data: None)
    partitions = sample or range(ring.partition_count)
    answers = {str(p): [[n["id"] for n in ring.get_part_nodes(p)], [n["id"] for n in ring.get_more_nodes(p)]] for p in partitions}
    text = json.dumps({"replica_count": ring.replica_count, "partitions": answers}, separators=(",", ":"))
    (HERE / f"{name}.json").write_text(text + "\n")


def make(name, devices, table, power, sample=None, **options):
    RingData(table, devices, 32 - power, version=7).save(str(HERE / f"{name}.ring.gz"), **options)
    answer(name, sample)


def hashes():
    paths = [("a",), ("AUTH_test", "c"), ("AUTH_test", "c", "o"), ("AUTH_ü", "b/ß", "x/y z\u20ac/")]
    found = [[list(path), utils.hash_path(*path)] for path in paths]
    (HERE / "hashes.json").write_text(json.dumps({"prefix": "before", "suffix": "after", "hashes": found}) + "\n")


def builder():
    made = RingBuilder(4, 2.5, 3)
    for i in range(6):
        made.add_dev(device(None, 1, i % 3 + 1, f"10.3.0.{i}", 50.0 * (i + 1), "note é"))
    made.set_overload(0.1)
    made.rebalance(seed="golden")
    made.remove_dev(4)
    made.save(str(HERE / "swift.builder"))
    rows = [list(row) for row in made._replica2part2dev]
    facts = {"version": made.version, "rows": rows, "rebalanced_at_s": made._last_part_moves_epoch}
    (HERE / "builder.json").write_text(json.dumps(facts, separators=(",", ":")) + "\n")


def main():
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"before", b"after"
    hashes()
    builder()
    zones = [device(i, 1, i // 4 + 1, f"10.0.{i // 4}.{i // 2 % 2}") for i in range(12)]
    make("zones", zones, rows(64, list(range(12)), 3, 5), 6)
    mixed = [device(i, i % 2 + 1, i % 3 + 1, f"10.1.0.{i % 5}", float(i % 4) * 50, "note é", "10.9.0.1") for i in range(14)]
    mixed[3] = mixed[8] = None
    make("fractional", mixed, rows(32, [0, 1, 2, 4, 5, 6, 7, 9, 10, 12], 2.25, 3), 5)
    make("version2", mixed, rows(32, [0, 1, 2, 4, 5, 6, 7, 9, 10, 12], 2.25, 3), 5, format_version=2)
    make("one_address", [device(i, 1, 1, "::1") for i in range(5)], rows(16, list(range(5)), 2, 2), 4)
    size = 1 << 17
    wide = [array("H", [p % 2 * 5 + (p // 8192 + r) % 5 for p in range(size)]) for r in range(2)]
    ten = [device(i, i % 2 + 1, i % 3, f"10.2.0.{i % 4}") for i in range(10)]
    make("large", ten, wide, 17, [*range(0, size, 8191), size - 1])
    answer("own")


if __name__ == "__main__":
    main()
