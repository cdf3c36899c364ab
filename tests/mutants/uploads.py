"""Mutants of what keeps the parts of multipart uploads."""

from tests.mutants.mutant import Mutant

COLLECTING = "objstore/proxy/collecting.py"
TESTS = "tests/unit/objstore/proxy/test_multipart.py"

UPLOADS = (
    Mutant(
        "a part that comes again takes the place of the one before",
        "objstore/model/parts.py",
        '{number:05d}/{unique}"',
        '{number:05d}/0"',
        f"{TESTS} -k comes_late",
    ),
    Mutant(
        "parts of an object are collected",
        COLLECTING,
        "            needed = await self._named(name, bucket.settings.policy, whole)\n",
        "            pass\n",
        f"{TESTS} -k nothing_goes",
    ),
    Mutant(
        "parts go as soon as an upload is aborted",
        COLLECTING,
        "record.version is not None or seconds_of(record.tombstone) >= before_s",
        "record.version is not None",
        f"{TESTS} -k 'grace or under_way'",
    ),
    Mutant(
        "parts go as soon as an object is overwritten",
        COLLECTING,
        "        elif seconds_of(whole.timestamp) >= before_s:\n",
        "        elif False:\n",
        f"{TESTS} -k grace",
    ),
    Mutant(
        "an abandoned upload ends as of when it began",
        COLLECTING,
        "policy, from_seconds(now))",
        "policy, row.timestamp + 1)",
        f"{TESTS} -k goes_on",
    ),
    Mutant(
        "a reseller sees where parts are",
        "objstore/model/identity.py",
        ' and not account.startswith(".")',
        "",
        f"{TESTS} -k rights",
    ),
)
