"""The house rules that a machine can check, each with its reason. One test per rule; a failure lists every place."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ("objstore", "ring")
ALL = (*CODE, "tests", "bench", "bin")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}

LAYERS: dict[str, tuple[set[str], str]] = {
    "ring": (set(), "placement stands alone, so that ring tools need nothing of the store"),
    "model": (set(), "values and decisions know nothing of how they are stored or sent"),
    "formats": ({"model", "ring"}, "bytes to model and back, nothing that acts"),
    "runtime": ({"formats", "model", "ring"}, "touches the outside world, knows nothing of objects or peers"),
    "rpc": ({"runtime", "formats", "model", "ring"}, "carries messages without knowing what they mean"),
    "placement": ({"formats", "model", "ring"}, "looks names up in the rings; no I/O"),
    "tables": ({"placement", "rpc", "runtime", "formats", "model", "ring"}, "what account and container share"),
    "account": ({"tables", "placement", "rpc", "runtime", "formats", "model", "ring"}, "the servers never know each other"),
    "container": ({"tables", "placement", "rpc", "runtime", "formats", "model", "ring"}, "the servers never know each other"),
    "object": ({"tables", "placement", "rpc", "runtime", "formats", "model", "ring"}, "the servers never know each other"),
    "proxy": ({"placement", "rpc", "runtime", "formats", "model", "ring"}, "speaks to servers by messages, never to their code"),
    "auth": ({"proxy", "placement", "rpc", "runtime", "formats", "model", "ring"}, "says who asks, not what they may do"),
    "api": ({"auth", "proxy", "placement", "rpc", "runtime", "formats", "model", "ring"}, "HTTP to operation and back"),
}
"""Per package, what it may import beside itself, and why. `app` and `testing` may import everything; nothing imports `app`, and
nothing but `app`, for the disk faults of a process under test, imports `testing`."""

OUTSIDE = {
    "os": "the operating system is touched in runtime alone, so that the simulator can stand in for it",
    "socket": "sockets are opened in runtime alone, so that the simulator can stand in for the network",
    "time": "clocks are read in runtime alone, so that tests can set the time",
    "datetime": "clocks are read in runtime alone, so that tests can set the time",
    "random": "randomness is injected, so that a run can be repeated from its seed",
    "secrets": "randomness is injected, so that a run can be repeated from its seed",
    "uuid": "randomness is injected, so that a run can be repeated from its seed",
    "subprocess": "only the supervisor starts processes",
    "multiprocessing": "only the supervisor starts processes",
    "signal": "only the processes' main functions know signals",
}
OUTSIDE_ALLOWED = ("objstore/runtime/", "objstore/app/", "objstore/testing/", "ring/fileformat.py", "ring/cli")
"""`testing` starts processes, damages their files and stands between their sockets: the outside world is its business."""
PURE_IN = {"os": {"errno", "strerror"}, "datetime": {"datetime", "timezone", "timedelta", "UTC"}, "time": {"gmtime", "strftime"}}
"""Names of these modules that touch nothing: conversions and constants."""
CLOCK_CALLS = {"now", "utcnow", "today", "time", "monotonic", "sleep", "perf_counter", "time_ns", "monotonic_ns"}
TESTING_ALLOWED = ("objstore/app/storage.py",)
"""Wraps a device's file system when the harness started the process, and imports it only then."""
SQL_ALLOWED = ("objstore/tables/", "objstore/container/", "objstore/account/", "objstore/app/", "objstore/testing/")
HTTP_LIBRARIES = {"aiohttp", "http", "urllib", "yarl", "multidict", "httptools", "requests"}
HTTP_ALLOWED = ("objstore/api/", "objstore/app/", "objstore/auth/", "objstore/testing/")
HTTP_PURE = {"urllib.parse", "http.HTTPStatus"}
NEVER = {
    "pickle": "reading it executes what is in it",
    "marshal": "reading it can crash the interpreter",
    "shelve": "it is pickle",
    "yaml": "its loader builds objects",
    "xml": "use defusedxml: the standard parsers expand entities without bound",
}
NEVER_CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
BROAD_ALLOWED = (
    *("objstore/runtime/worker.py", "objstore/runtime/disk.py", "objstore/runtime/readers.py"),
    *("objstore/rpc/guard.py", "objstore/api/edge", "objstore/tables/committer.py", "objstore/app/graph.py"),
)
"""A worker's pass, a thread's job, a request of a peer or a client, the end of a part may fail in any way: the process goes on."""
SECRET_NAME = re.compile(r"(^|_)(sig|signature|token|digest|hmac|mac|secret|password)$")


@dataclass(frozen=True)
class Source:
    """One parsed file."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The layer it belongs to: `ring`, or the package below `objstore`."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "objstore" and len(parts) > 2 else parts[0]


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            found.append(Source(str(path.relative_to(ROOT)), text, ast.parse(text, str(path))))
    return tuple(found)


def imports(source: Source) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import, also those inside functions; name is "" for `import module`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source.path}:{node.lineno}: relative import; write the whole name"
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def under(path: str, allowed: tuple[str, ...]) -> bool:
    return path.startswith(allowed)


def check(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_the_walk_finds_the_code() -> None:
    assert {"objstore/model/timestamps.py", "ring/ring.py"} <= {source.path for source in sources(*CODE)}


def test_files_are_short() -> None:
    long = [(s.path, s.text.count("\n")) for s in sources(*ALL) if s.text.count("\n") > FILE_LINES_MAX]
    check([f"{path}: {lines} lines, at most {FILE_LINES_MAX}: split it by what it does" for path, lines in long])


def test_functions_are_short() -> None:
    problems = []
    for source in sources(*ALL):
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    problems.append(f"{source.path}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")
    check(problems)


def test_modules_say_what_they_hold() -> None:
    check([f"{s.path}: a name that says nothing" for s in sources(*ALL) if set(s.path[:-3].split("/")) & BANNED_MODULES])


def test_modules_and_packages_have_a_docstring() -> None:
    check([f"{s.path}: no docstring" for s in sources(*CODE) if not ast.get_docstring(s.tree)])


@pytest.mark.parametrize("package", sorted(LAYERS))
def test_imports_point_down(package: str) -> None:
    allowed, reason = LAYERS[package]
    problems = []
    for source in sources(*CODE):
        if source.package != package:
            continue
        for line, module, name in imports(source):
            parts = module.split(".")
            if parts[0] == "objstore":
                target = parts[1] if len(parts) > 1 else name
            elif parts[0] == "ring":
                target = "ring"
            else:
                continue
            if target != package and target not in allowed:
                problems.append(f"{source.path}:{line}: {package} imports {target}: {reason}")
    check(problems)


def test_what_runs_does_not_import_what_tests_it() -> None:
    problems = []
    for source in sources(*CODE):
        if source.package != "testing" and source.path not in TESTING_ALLOWED:
            found = [line for line, module, name in imports(source) if f"{module}.{name}".startswith("objstore.testing")]
            problems += [f"{source.path}:{line}: imports objstore.testing: it stands above everything" for line in found]
    check(problems)


@pytest.mark.parametrize("package", ["ring", "model", "formats", "placement"])
def test_decisions_do_not_wait(package: str) -> None:
    problems = []
    for source in sources(*CODE):
        if source.package == package:
            for node in ast.walk(source.tree):
                if isinstance(node, (ast.AsyncFunctionDef, ast.Await)):
                    problems.append(f"{source.path}:{node.lineno}: async in {package}: decide here, act above")
    check(problems)


def test_the_outside_world_is_touched_in_runtime_alone() -> None:
    problems = []
    for source in sources(*CODE):
        if under(source.path, OUTSIDE_ALLOWED):
            continue
        for line, module, name in imports(source):
            top = module.split(".")[0]
            if top in OUTSIDE and name not in PURE_IN.get(top, set()):
                problems.append(f"{source.path}:{line}: imports {module}: {OUTSIDE[top]}")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
                problems.append(f"{source.path}:{node.lineno}: open(): files are opened in runtime alone")
            if _reads_clock(node):
                problems.append(f"{source.path}:{node.lineno}: reads a clock: take it from the Clock")
    check(problems)


def _reads_clock(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS):
        return False
    return isinstance(node.func.value, ast.Name) and node.func.value.id in ("time", "datetime", "date")


def test_nothing_is_unpickled_or_evaluated() -> None:
    problems = []
    for source in sources(*CODE, "bench"):
        for line, module, _ in imports(source):
            if module.split(".")[0] in NEVER:
                problems.append(f"{source.path}:{line}: imports {module}: {NEVER[module.split('.')[0]]}")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NEVER_CALLS:
                problems.append(f"{source.path}:{node.lineno}: {node.func.id}()")
    check(problems)


def test_sqlite_lives_in_the_tables() -> None:
    problems = []
    for source in sources(*CODE):
        if not under(source.path, SQL_ALLOWED):
            problems += [f"{source.path}:{line}: imports {m}" for line, m, _ in imports(source) if m.split(".")[0] == "sqlite3"]
    check(problems)


def test_http_ends_at_the_edge() -> None:
    problems = []
    for source in sources(*CODE):
        if under(source.path, HTTP_ALLOWED):
            continue
        for line, module, name in imports(source):
            if module.split(".")[0] in HTTP_LIBRARIES and not {module, f"{module}.{name}"} & HTTP_PURE:
                problems.append(f"{source.path}:{line}: imports {module}: below the API nothing knows HTTP")
    check(problems)


def test_secrets_are_compared_in_constant_time() -> None:
    problems = []
    for source in sources("objstore/rpc", "objstore/auth", "objstore/api", "objstore/app"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops):
                names = {_name(side) for side in (node.left, *node.comparators)}
                constant = any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
                if not constant and any(SECRET_NAME.search(name) for name in names):
                    problems.append(f"{source.path}:{node.lineno}: == on a secret: use hmac.compare_digest")
    check(problems)


def _name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Name):
        return node.id.lower()
    return node.attr.lower() if isinstance(node, ast.Attribute) else ""


def test_nothing_below_app_is_patched() -> None:
    problems = []
    for source in sources("tests/unit"):
        if source.path.startswith("tests/unit/objstore/app/"):
            continue
        for line, module, name in imports(source):
            if module.startswith("unittest.mock") or (module == "unittest" and name == "mock"):
                problems.append(f"{source.path}:{line}: a fake implements the real protocol; nothing is patched")
    check(problems)


def test_nothing_happens_at_import() -> None:
    """A module's top level defines; it starts nothing, reads nothing and prints nothing."""
    problems = []
    for source in sources(*CODE):
        for node in source.tree.body:
            call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            if call or isinstance(node, (ast.For, ast.While, ast.With, ast.Try)):
                problems.append(f"{source.path}:{node.lineno}: work at import")
    check(problems)


def test_no_global_is_assigned_from_a_function() -> None:
    check([f"{s.path}:{n.lineno}: global" for s in sources(*CODE) for n in ast.walk(s.tree) if isinstance(n, ast.Global)])


def test_errors_are_caught_by_name() -> None:
    """Broad handlers stand where anything may arrive (BROAD_ALLOWED), or hand the error on: raise, or a future's set_exception."""
    problems = []
    for source in sources(*CODE):
        if not under(source.path, BROAD_ALLOWED):
            handlers = [node for node in ast.walk(source.tree) if isinstance(node, ast.ExceptHandler)]
            problems += [f"{source.path}:{one.lineno}: catches everything: name the errors" for one in handlers if _swallows(one)]
    check(problems)


def _swallows(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if not any(kind is None or _name(kind) in ("exception", "baseexception") for kind in kinds):
        return False
    inside = list(ast.walk(handler))
    hands_on = any(isinstance(node, ast.Attribute) and node.attr == "set_exception" for node in inside)
    return not hands_on and not any(isinstance(node, ast.Raise) for node in inside)


def test_launchers_launch() -> None:
    for launcher in sorted((ROOT / "bin").iterdir()):
        if launcher.is_file():
            assert launcher.read_text().count("\n") <= 12, f"{launcher.name}: a launcher launches, nothing more"
