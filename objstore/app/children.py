"""Which processes should run, and what to do when one of them becomes ready or ends: the decisions of the supervisor, free of
system calls. Times are monotonic seconds.

A reload replaces a process by a successor that starts beside it. A worker's predecessor ends when the successor is ready; a storage
process's predecessor ends when the successor has prepared all it can without the devices, which then change hands. Storage
processes go one after another.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 10.0
STABLE_AFTER_S = 30.0
KILL_MARGIN_S = 5.0
SETTLE_S = 1.0
"""Between the return of one storage process and the replacement of the next: peers connect again meanwhile."""

Kind = Literal["public", "storage"]
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Spec:
    """One process to keep running. `listen`: the addresses it serves, whose sockets the supervisor holds.

    `slot` tells workers apart; `bank` is added to it on every second reload, so that a new worker and the old one, which run side
    by side for a while, never share a slot (timestamps depend on it).
    """

    name: str
    kind: Kind
    config: str
    listen: tuple[Address, ...] = ()
    slot: int = 0
    bank: int = 0
    drain_timeout_s: float = 30.0


class State(Enum):
    STARTING = "starting"
    PREPARED = "prepared"
    READY = "ready"
    STOPPING = "stopping"
    WAITING = "waiting"
    """It is to be started at `start_at`."""
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Child:
    """One place in the plan and the process that fills it now."""

    spec: Spec
    state: State = State.WAITING
    start_at: float = 0.0
    started_at: float = 0.0
    kill_at: float = 0.0
    failures: int = 0
    generation: int = 0
    successor: "Child | None" = None

    @property
    def crashed(self) -> bool:
        """It ended on its own account and waits to be started again."""
        return self.state is State.WAITING and self.failures > 0

    @property
    def slot(self) -> int:
        return self.spec.slot + (self.generation % 2) * self.spec.bank


@dataclass(slots=True)
class Actions:
    """What the supervisor has to do now."""

    start: list[Child] = field(default_factory=list)
    terminate: list[Child] = field(default_factory=list)
    kill: list[Child] = field(default_factory=list)


class Plan:
    """All children of one supervisor."""

    def __init__(self, specs: Iterable[Spec], settle_s: float = SETTLE_S) -> None:
        self.children = [Child(spec) for spec in specs]
        self.stopping = False
        self.failed: str | None = None
        self.was_ready = False
        self._settle_s = settle_s
        self._settled_at = 0.0
        self._to_replace: list[Child] = []
        self._reload_again = False

    @property
    def finished(self) -> bool:
        return self.stopping and not self.children

    @property
    def reloading(self) -> bool:
        """Whether a reload is under way: children wait for their turn, are being replaced, or have not ended yet."""
        return bool(self._to_replace) or any(child.successor or child.state is State.STOPPING for child in self.children)

    def next_deadline(self) -> float | None:
        """When `due` has something to do, if nothing happens before."""
        times = [child.start_at for child in self.children if self._may_start(child)]
        times += [child.kill_at for child in self.children if child.state is State.STOPPING]
        times += [self._settled_at] if self._to_replace and self._all_ready() else []
        return min(times, default=None)

    def due(self, now: float) -> Actions:
        """What is to be done at this moment. Call after every event, and at `next_deadline`."""
        actions = Actions()
        if self.stopping:
            self._advance_stop(actions, now)
        else:
            self._advance_reload(actions, now)
        for child in self.children:
            if self._may_start(child) and child.start_at <= now:
                child.state, child.started_at = State.STARTING, now
                actions.start.append(child)
            elif child.state is State.STOPPING and child.kill_at <= now:
                child.kill_at = now + KILL_MARGIN_S
                actions.kill.append(child)
        return actions

    def prepared(self, child: Child) -> None:
        """The child has done what it can beside its predecessor."""
        if child.state is State.STARTING:
            child.state = State.PREPARED

    def ready(self, child: Child, now: float) -> None:
        """The child says that it serves."""
        if child.state in (State.STARTING, State.PREPARED):
            child.state = State.READY
        if child.spec.kind == "storage":
            self._settled_at = now + self._settle_s
        if self._all_ready():
            self.was_ready = True

    def ended(self, child: Child, now: float) -> None:
        """The child's process is gone."""
        if not self.was_ready and not self.stopping and child.state is not State.STOPPING:
            self.failed = f"{child.spec.name} could not start"
            self.stop()
        if self.stopping or child.state is State.STOPPING or child.successor is not None:
            child.state = State.GONE
            self.children.remove(child)
            return
        stable = child.state is State.READY and now - child.started_at >= STABLE_AFTER_S
        child.failures = 1 if stable else child.failures + 1
        child.start_at = now + min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** (child.failures - 1))
        child.state = State.WAITING

    def reload(self) -> None:
        """Replace every process."""
        if self.stopping:
            return
        if self.reloading:
            self._reload_again = True
            return
        self._to_replace = sorted(self.children, key=lambda child: child.spec.kind == "storage")

    def replace(self, child: Child) -> None:
        """Replace one process that says that a new one would serve better."""
        if self.stopping or child.successor is not None or child.state is State.STOPPING:
            return
        if self.reloading:
            self._reload_again = True
        else:
            self._to_replace = [child]

    def stop(self) -> None:
        """End everything: first those that answer clients, then those that hold data. Called again: do not wait any longer."""
        if self.stopping:
            for child in self.children:
                child.kill_at = 0.0
        self.stopping = True
        self._to_replace.clear()
        self.children = [child for child in self.children if child.state is not State.WAITING]

    def _all_ready(self) -> bool:
        return all(child.state is State.READY for child in self.children)

    def _may_start(self, child: Child) -> bool:
        """Waiting, and its turn: at first, workers start when the storage processes beside them are ready, so that a public
        port that answers has a store behind it.
        """
        if child.state is not State.WAITING or self.stopping:
            return False
        if self.was_ready or child.spec.kind == "storage":
            return True
        return all(one.state is State.READY for one in self.children if one.spec.kind == "storage")

    def _advance_stop(self, actions: Actions, now: float) -> None:
        public = [child for child in self.children if child.spec.kind == "public"]
        for child in public or self.children:
            if child.state is not State.STOPPING:
                self._terminate(child, actions, now)

    def _advance_reload(self, actions: Actions, now: float) -> None:
        for child in list(self.children):
            if child.successor is None or child.state is State.STOPPING:
                continue
            if child.successor.state is State.READY or (child.spec.kind == "storage" and child.successor.state is State.PREPARED):
                self._terminate(child, actions, now)
        while self._to_replace and self._may_replace(self._to_replace[0], now):
            child = self._to_replace.pop(0)
            if child in self.children:
                child.successor = Child(child.spec, start_at=now, generation=child.generation + 1)
                self.children.append(child.successor)
        if self._reload_again and not self.reloading:
            self._reload_again = False
            self.reload()

    def _may_replace(self, child: Child, now: float) -> bool:
        return child.spec.kind == "public" or (self._all_ready() and now >= self._settled_at)

    def _terminate(self, child: Child, actions: Actions, now: float) -> None:
        child.state = State.STOPPING
        child.kill_at = now + child.spec.drain_timeout_s + KILL_MARGIN_S
        actions.terminate.append(child)
