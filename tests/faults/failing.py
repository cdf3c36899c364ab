"""A CrashFileSystem of which the n-th call fails, once or from then on, before or after it had its effect."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.crashfs import CrashFile, CrashFileSystem
from tests.faults.crashnodes import Image

FILE_CALLS = ("write", "pwrite", "pread", "size", "set_attribute", "get_attribute", "sync")
FS_CALLS = (
    *("create_temp", "publish", "open", "open_append", "make_directory", "sync_directory", "list_directory"),
    *("directory_state", "remove_directory", "unlink", "rename", "allocate", "free", "size_of", "open_write", "sync_all"),
)
GROWING = frozenset(("create_temp", "publish", "open_append", "make_directory", "allocate", "write", "set_attribute", "sync"))
"""What a full disk or quota refuses; `sync` where space was promised by delayed allocation."""
CHANGING = GROWING | {"sync_directory", "remove_directory", "unlink", "rename", "pwrite", "open_write", "sync_all"}
"""What a read-only file system refuses."""
LASTING = {
    errno.EIO: frozenset((*FILE_CALLS, *FS_CALLS)),
    errno.ENOSPC: GROWING,
    errno.EDQUOT: GROWING,
    errno.EROFS: CHANGING,
}
"""What goes on failing with each error."""
HALF_DONE = frozenset(("write", "publish", "rename", "unlink", "make_directory", "open_append", "set_attribute", "pwrite"))
"""What may have had its effect, or half of it, although it reported an error."""


@dataclass(frozen=True)
class Injection:
    """The `number`-th call (from 1) fails with `code`; `lasting`: with all later calls that such a state refuses; `late`: after its
    effect.
    """

    number: int
    code: int = errno.EIO
    lasting: bool = False
    late: bool = False

    def __str__(self) -> str:
        return f"call {self.number} {errno.errorcode[self.code]}{' lasting' * self.lasting}{' late' * self.late}"


class FailingFileSystem(CrashFileSystem):
    """Fails as told from `arm` on. `calls` counts them, `failed` names those that failed, the first of them the `first`-th."""

    def __init__(self, image: Image = (), *, nameless: bool = True) -> None:
        """Files opened before `arm` fail too."""
        self.injection: Injection | None = None
        super().__init__(image, nameless=nameless)
        for name in FS_CALLS:
            setattr(self, name, self._wrapped(name, getattr(CrashFileSystem, name).__get__(self)))

    def arm(self, injection: Injection) -> None:
        self.injection = injection
        self.calls = self.first = 0
        self.failed: list[str] = []

    def disarm(self) -> None:
        self.injection = None

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            injection = self.injection
            if injection is not None:
                self.calls += 1
                if self._fails(injection, name):
                    self._fail(injection, name, call, arguments)
            result = call(*arguments)
            if isinstance(result, CrashFile):
                for of_file in FILE_CALLS:
                    setattr(result, of_file, self._wrapped(of_file, getattr(result, of_file)))
            return result

        return wrapped

    def _fails(self, injection: Injection, name: str) -> bool:
        if self.calls < injection.number or (injection.late and name not in HALF_DONE):
            return False
        return name in LASTING[injection.code] if injection.lasting else self.calls == injection.number

    def _fail(self, injection: Injection, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.failed.append(name)
        self.first = self.first or self.calls
        error = OSError(injection.code, os.strerror(injection.code))
        if injection.late:
            if name in ("write", "pwrite"):
                arguments = (bytes(arguments[0][: len(arguments[0]) // 2]), *arguments[1:])
            result = call(*arguments)
            for changed in result if name == "make_directory" else ():
                self.sync_entries(self.directory(changed), changed)  # as the interface promises
        if name == "sync":
            self.lose_data(call.__self__)  # type: ignore[attr-defined]
            self.sync_failed(error, None)
        elif name == "sync_directory":
            self.lose_names(arguments[0])
            self.sync_failed(error, arguments[0])
        elif name == "sync_all":
            self.lose_all()
            self.sync_failed(error, "")
        self.lost = self.lost or self.device_lost
        raise error

    @property
    def device_lost(self) -> bool:
        """Whether what failed obliges the device to refuse all that follows."""
        injection = self.injection
        spared = injection is not None and injection.code in (errno.ENOSPC, errno.EDQUOT)
        return bool({"sync_directory", "sync_all"} & set(self.failed)) or ("sync" in self.failed and not spared)
