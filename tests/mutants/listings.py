"""Mutants of listings that hear of a second replica only which table it has."""

from tests.mutants.mutant import Mutant

TABLES = "tests/unit/objstore/tables"
PROXY = "tests/unit/objstore/proxy"

LISTINGS = (
    Mutant(
        "a page that was kept is shown whatever table the replica has now",
        "objstore/proxy/listings.py",
        "if kept is not None and pages[first].table == kept.table:",
        "if kept is not None:",
        f"{PROXY}/test_listings.py -k kept",
    ),
    Mutant(
        "pages are kept without end",
        "objstore/proxy/listings.py",
        "while self._bytes > self._bytes_max:",
        "while False:",
        f"{PROXY}/test_listings.py -k limit",
    ),
    Mutant(
        "who has another table than the one of a page that was kept does not send it",
        "objstore/tables/service.py",
        "if request.table_only or table == request.known:",
        "if True:",
        "tests/unit/objstore/container/test_server.py -k that_the_caller_has",
    ),
    Mutant(
        "rows that wait for their database are not in what a listing compares",
        "objstore/tables/service.py",
        "if (request.table_only or request.known) and not held:",
        "if request.table_only or request.known:",
        f"{PROXY}/test_listings.py -k wait_for_databases",
    ),
    Mutant(
        "a page to which rows that wait were added is one of the table without them",
        "objstore/tables/reading.py",
        'table = b"" if held else ',
        "table = ",
        f"{TABLES}/test_heldrows.py -k listed",
    ),
    Mutant(
        "a page and the digest of its table are of two moments",
        "objstore/tables/reading.py",
        'connection.execute("BEGIN")',
        "pass",
        f"{TABLES}/test_reading.py -k one_moment",
    ),
    Mutant(
        "a listing does not look at the page of another table",
        "objstore/proxy/listings.py",
        "and (not table or page.table != table)]",
        "and False]",
        f"{PROXY}/test_listings.py -k differ_elsewhere",
    ),
)
