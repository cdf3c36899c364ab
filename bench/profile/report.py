"""The tables of a profile, for a terminal and for docs/performance.md."""

from bench import marked
from bench.profile.categories import ORDER
from bench.profile.measuring import Group, Spending

NEGLIGIBLE_US = 0.5
NOTE = (
    "CPU µs per request, summed over all server processes; a system call belongs to the part that made it. A part's share of a "
    "thread's time is what samples saw; the sums are the kernel's account of the threads while nothing was sampled."
)


def amount(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= NEGLIGIBLE_US else "–"


def with_share(microseconds: float, total: float) -> str:
    """ "123 (4 %)"."""
    return f"{microseconds:,.0f} ({microseconds / total * 100:.0f} %)" if microseconds >= NEGLIGIBLE_US else "–"


def by_category(found: dict[str, Spending]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the parts of the store, and how they sum."""
    parts = {kind: spending.by_category() for kind, spending in found.items()}
    rows = [[name, *(with_share(parts[kind][name], found[kind].total_us) for kind in found)] for name in ORDER]
    rows.append(["sum of the parts", *(amount(sum(parts[kind].values())) for kind in found)])
    rows.append(["measured, by the processes' clocks", *(amount(one.processes_us) for one in found.values())])
    rows.append(["while sampled", *(amount(one.sampled_us) for one in found.values())])
    rows.append(["samples", *(f"{one.samples:,}" for one in found.values())])
    return ["", *found], rows


def by_thread(found: dict[str, Spending]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the threads of proxy and nodes, and how much of it the kernel used."""
    groups: list[Group] = sorted(
        {group for one in found.values() for group in one.used.threads}, key=lambda one: (one.role != "proxy", one)
    )
    rows = []
    for group in groups:
        cells = []
        for one in found.values():
            all_us = one.used.threads[group] / one.requests * 1e6
            kernel = one.used.system[group] / one.requests * 1e6
            cells.append(f"{all_us:,.0f} ({min(kernel, all_us):,.0f})" if all_us >= NEGLIGIBLE_US else "–")
        if set(cells) != {"–"}:
            rows.append([f"{group.role}: {group.thread}", *cells])
    return ["thread: all (of it kernel)", *found], rows


def show(found: dict[str, Spending], functions: int) -> None:
    """Print both, and of each kind the dearest `functions`."""
    print(f"\n{marked.plain(*by_category(found))}\n\n{marked.plain(*by_thread(found))}\n\n{NOTE}")
    for kind, one in found.items() if functions else ():
        print(f"\n{kind}: CPU µs per request of functions themselves, with the system calls and the C code that they call")
        for microseconds, name in one.by_function()[:functions]:
            print(f"{microseconds:9.1f}  {name}")


def write(found: dict[str, Spending], seconds: float) -> None:
    """Into the document."""
    intro = (
        f"Measured on {marked.circumstances()}: {seconds:g} s of load for each kind, 4 KiB objects, 16 connections, 4 storage "
        f"nodes, the load generator on the same cores. {NOTE}"
    )
    marked.write("profile", "\n\n".join([intro, marked.markdown(*by_category(found)), marked.markdown(*by_thread(found))]))
