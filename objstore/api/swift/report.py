"""Reports of work on many objects: Swift's text, JSON and XML forms, and the blanks that keep a waiting client patient."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field

import msgspec

from objstore.api.pages import sentence_of
from objstore.api.reply import reason_of
from objstore.api.swift.listings import xml_text
from objstore.api.swift.negotiation import best_match
from objstore.runtime.interface import Clock


@dataclass(slots=True)
class Report:
    """What became of the work. `figures` are lines of their own; `errors` pairs a name with a status line."""

    status: str
    figures: dict[str, str | int] = field(default_factory=dict)
    body: str = ""
    errors: list[tuple[str, str]] = field(default_factory=list)

    def render(self, media_type: str, root: str) -> bytes:
        """The report as `media_type`; `root` names the XML element."""
        lines: dict[str, str | int] = {**self.figures, "Response Body": self.body, "Response Status": self.status}
        if media_type == "application/json":
            return msgspec.json.encode({**lines, "Errors": self.errors})
        if media_type.endswith("/xml"):
            return self._xml(lines, root).encode()
        text = [f"{label}: {value}\n" for label, value in lines.items()]
        text.append("Errors:\n")
        text += [f"{name}, {status}\n" for name, status in self.errors]
        return "".join(text).encode()

    def _xml(self, lines: dict[str, str | int], root: str) -> str:
        parts = [f"<{root}>\n"]
        for label, value in lines.items():
            tag = label.lower().replace(" ", "_")
            parts.append(f"<{tag}>{xml_text(str(value))}</{tag}>\n")
        parts.append("<errors>\n")
        for name, status in self.errors:
            parts.append(f"<object><name>{xml_text(name)}</name><status>{xml_text(status)}</status></object>\n")
        parts.append(f"</errors>\n</{root}>\n")
        return "".join(parts)


def report_type(accept: str) -> str:
    """The media type of a report for an Accept header; text for a client that takes none of ours."""
    return best_match(accept) or "text/plain" if accept else "text/plain"


def failure_text(status: int, text: str = "") -> str:
    """The `Response Body` of a failure."""
    return f"{reason_of(status)}\n{text or sentence_of(status)}"


async def with_blanks(
    work: Coroutine[None, None, bytes], every_s: float, clock: Clock, at_once: bool = False
) -> AsyncIterator[bytes]:
    """The result of `work`, after a blank for every `every_s` that it takes (`at_once`: one to begin with), and an empty line
    behind the blanks. The work is cancelled when nobody waits for it any more.
    """
    task = asyncio.ensure_future(work)
    blanks = False
    try:
        if at_once:
            blanks = True
            yield b" "
        while not task.done():
            pause = asyncio.ensure_future(clock.sleep(every_s))
            await asyncio.wait({task, pause}, return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
            if not task.done():
                blanks = True
                yield b" "
        result = task.result()
        yield b"\r\n\r\n" + result if blanks else result
    finally:
        task.cancel()
