"""Runs OpenStack Swift's own functional tests against this store and prints what passed.

    .venv/bin/python tests/conformance/swift_functional.py [--endpoint URL] [--files tests.py,...] [-k EXPR] [--keep]

Without --endpoint a development cluster of its own is started on a free port and stopped at the end.
The tests are fetched through pip on the first run (see suite_source). They use the development users, and they delete
every container of the accounts test and test2: do not point --endpoint at a store with anything of value in these.

Exit code: 0 enough tests passed, 1 too few passed, 2 wrong usage, or the run was not possible.
"""

import argparse
import configparser
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import outcomes
from pytest_outcome_log import LOG_VARIABLE
from store_process import StoreNotReady, StoreProcess, is_healthy
from suite_source import SuiteNotReady, SwiftSuite

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))
CACHE_DIR = os.path.join(CHECKOUT, ".cache", "conformance-swift")
REPORTS_KEPT = 5
FILES = ["tests.py", "test_account.py", "test_container.py", "test_object.py", "test_slo.py", "test_dlo.py"]
AT_LEAST = 400
TEST_TIMEOUT_S = 120
RUN_TIMEOUT_S = 3600
KILL_GRACE_S = 20
POLL_S = 0.5

USERS = {
    # owner of the account most tests use
    "account": "test",
    "username": "tester",
    "password": "testing",
    # owner of a second account: access lists and copies between accounts
    "account2": "test2",
    "username2": "tester2",
    "password2": "testing2",
    # user of the first account without any right
    "username3": "tester3",
    "password3": "testing3",
    # service user: its token beside a user's opens SERVICE_<account>
    "account5": "test5",
    "username5": "tester5",
    "password5": "testing5",
    "service_prefix": "SERVICE",
    # reseller admin: may set quotas
    "account6": "admin",
    "username6": "admin",
    "password6": "admin",
    "s3_access_key": "test:tester",
    "s3_secret_key": "testing",
    "s3_access_key2": "test:tester2",
    "s3_secret_key2": "testing2",
    "s3_access_key3": "test:tester3",
    "s3_secret_key3": "testing3",
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run OpenStack Swift's functional tests against this store.")
    parser.add_argument("--endpoint", help="a running store, for example http://127.0.0.1:8080; without it one is started")
    parser.add_argument("--files", default=",".join(FILES), help="comma separated files of test/functional")
    parser.add_argument("-k", dest="expression", default="", metavar="EXPR", help="only tests that match, as in pytest -k")
    parser.add_argument(
        "--at-least",
        type=int,
        metavar="N",
        help=f"fail when fewer pass; default {AT_LEAST}, and with --files or -k: fail when any test fails",
    )
    parser.add_argument("--test-timeout", type=int, default=TEST_TIMEOUT_S, metavar="SECONDS", help="of one test")
    parser.add_argument("--run-timeout", type=int, default=RUN_TIMEOUT_S, metavar="SECONDS", help="of all tests together")
    parser.add_argument("--keep", action="store_true", help="keep the data of the started store")
    return parser.parse_args()


def write_config(path: str, endpoint: str) -> None:
    """The test.conf that the suite reads, for the development users."""
    config = configparser.ConfigParser(interpolation=None)
    config["func_test"] = {
        "auth_uri": f"{endpoint}/auth/v1.0",
        "auth_version": "1",
        "s3_storage_url": f"{endpoint}/",
        "collate": "C",
        **USERS,
    }
    config["s3api_test"] = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "s3_acl_tests_enabled": "false",  # Swift's optional mode in which each user of an account has buckets of its own
        **{f"access_key{number}": USERS[f"s3_access_key{number if number > 1 else ''}"] for number in (1, 2, 3)},
        **{f"secret_key{number}": USERS[f"s3_secret_key{number if number > 1 else ''}"] for number in (1, 2, 3)},
    }
    config["swift-constraints"] = {}  # the limits come from the store's /info
    with open(path, "w", encoding="utf-8") as file:
        config.write(file)


@contextlib.contextmanager
def running_store(arguments: argparse.Namespace, report_dir: str) -> Iterator[str]:
    """The endpoint to test: the given one, or that of a cluster that lives as long as this context."""
    if arguments.endpoint:
        endpoint = arguments.endpoint.rstrip("/")
        if not is_healthy(endpoint):
            raise StoreNotReady(f"GET {endpoint}/healthcheck does not answer 200; is the store running?")
        yield endpoint
        return
    data_dir = tempfile.mkdtemp(prefix="objstore-conformance-")
    try:
        with StoreProcess(CHECKOUT, data_dir, os.path.join(report_dir, "store.log")) as endpoint:
            yield endpoint
    finally:
        if arguments.keep:
            print(f"data kept in {data_dir}")
        else:
            shutil.rmtree(data_dir, ignore_errors=True)


def suite_environment(report_dir: str, endpoint: str) -> dict[str, str]:
    host = urlsplit(endpoint).hostname or ""
    return {
        **os.environ,
        "PYTHONPATH": HERE,
        LOG_VARIABLE: os.path.join(report_dir, "outcomes.jsonl"),
        "SWIFT_TEST_CONFIG_FILE": os.path.join(report_dir, "test.conf"),
        "SWIFT_TEST_IN_PROCESS": "false",  # never fall back to a Swift of the suite's own
        "NO_PROXY": host,
        "no_proxy": host,
    }


def run_suite(suite: SwiftSuite, arguments: argparse.Namespace, report_dir: str, endpoint: str) -> None:
    """Run pytest in the suite's folder; outcomes go to report_dir. A run that takes too long is killed."""
    paths = suite.test_paths([name for name in arguments.files.split(",") if name])
    write_config(os.path.join(report_dir, "test.conf"), endpoint)
    command = [suite.python, "-m", "pytest", *paths, "-p", "pytest_outcome_log", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--timeout={arguments.test_timeout}", "--timeout-method=signal", f"--session-timeout={arguments.run_timeout}"]
    command += [f"--junitxml={os.path.join(report_dir, 'junit.xml')}"]
    if arguments.expression:
        command += ["-k", arguments.expression]
    with open(os.path.join(report_dir, "pytest.log"), "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=suite.source_dir,
            env=suite_environment(report_dir, endpoint),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_with_progress(process, os.path.join(report_dir, "outcomes.jsonl"), arguments.run_timeout + KILL_GRACE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_with_progress(process: subprocess.Popen[bytes], log_path: str, timeout_s: float) -> None:
    """Return when the process has ended or the time is over. On a terminal, shows how far the run is."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        if sys.stdout.isatty():
            so_far = outcomes.read_outcomes(log_path)
            ended = sum(outcome.reason != outcomes.NOT_ENDED for outcome in so_far)
            print(f"\r{ended} of {len(so_far)} ", end="", flush=True)
    if sys.stdout.isatty():
        print("\r", end="")


def is_enough(results: list[outcomes.Outcome], arguments: argparse.Namespace) -> bool:
    passed = sum(result.status == "passed" for result in results)
    whole = arguments.files == ",".join(FILES) and not arguments.expression
    if arguments.at_least is None and not whole:
        return passed > 0 and all(result.status != "failed" for result in results)
    return passed >= (AT_LEAST if arguments.at_least is None else arguments.at_least)


def forget_old_reports() -> None:
    """Keep the newest few reports of earlier runs."""
    found = [entry for entry in os.scandir(CACHE_DIR) if entry.name.startswith("report-")]
    for entry in sorted(found, key=lambda entry: entry.stat().st_mtime)[:-REPORTS_KEPT]:
        shutil.rmtree(entry.path, ignore_errors=True)


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # as Ctrl-C: leave by the contexts, which stop what was started
    # A folder of its own: runs at the same time must not read each other's test.conf.
    report_dir = os.path.join(CACHE_DIR, f"report-{os.getpid()}")
    suite = SwiftSuite(CACHE_DIR, os.path.join(HERE, "requirements-swift.txt"))
    try:
        suite.prepare()
        forget_old_reports()
        shutil.rmtree(report_dir, ignore_errors=True)
        os.makedirs(report_dir)
        with running_store(arguments, report_dir) as endpoint:
            print(f"testing {endpoint}", flush=True)
            run_suite(suite, arguments, report_dir, endpoint)
    except (SuiteNotReady, StoreNotReady) as error:
        print(f"swift_functional: {error}", file=sys.stderr)
        return 2
    results = outcomes.read_outcomes(os.path.join(report_dir, "outcomes.jsonl"))
    if not results:
        print(f"swift_functional: no test was run; see {os.path.join(report_dir, 'pytest.log')}", file=sys.stderr)
        return 2
    print(outcomes.not_passed(results))
    print()
    print(outcomes.matrix(results))
    print(f"reports: {report_dir}")
    print(outcomes.total_line(results))
    return 0 if is_enough(results, arguments) else 1


if __name__ == "__main__":
    sys.exit(main())
