"""The screen of `objstore dev` on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.status import Status

from objstore.app.children import Child
from objstore.app.config import User
from objstore.app.devcluster import DevCluster
from objstore.app.screen import first_screen


class RichScreen:
    """A spinner while processes start, then a panel. Command lines are printed bare, so that they can be copied."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._waiting: set[str] = set()

    def begin(self, cluster: DevCluster, children: Sequence[Child]) -> None:
        self._waiting = {child.spec.name for child in children}
        self._status = self._console.status(f"starting {len(children)} processes")
        self._status.start()
        self._console.print(f"[dim]data in {escape(cluster.directory)}[/dim]")

    def event(self, event: str, child: Child) -> None:
        if event == "ready" and self._status is not None:
            self._waiting.discard(child.spec.name)
            waiting = ", ".join(sorted(self._waiting))
            self._status.update(f"waiting for {waiting}" if waiting else "writing a first object")
        elif event == "ended" and child.crashed:
            self.problem(f"{child.spec.name} ended unexpectedly and is started again")

    def ready(self, cluster: DevCluster, endpoint: str, workers: int, users: Iterable[User]) -> None:
        self._stop_status()
        (heading, about), *rest = first_screen(cluster, endpoint, workers, users)
        self._console.print(Panel(escape("\n".join(about)), title=f"[bold]{escape(heading)}[/bold]", expand=False, style="green"))
        for title, lines in rest:
            self._console.print(f"[bold cyan]{title}[/bold cyan]")
            for line in lines:
                self._console.print(f"  {escape(line)}")
        self._console.print("\n[bold green]ready[/bold green]  [dim]Ctrl-C stops all of it; the data stays[/dim]")

    def problem(self, text: str) -> None:
        self._stop_status()
        self._console.print(f"[bold red]{escape(text)}[/bold red]")

    def end(self, code: int) -> None:
        self._stop_status()
        if code == 0:
            self._console.print("stopped; the data stays")

    def _stop_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
