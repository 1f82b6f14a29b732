"""Server-sent events: from lines to events, as the HTML standard reads them. Pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """`id` is what to send as Last-Event-ID to go on behind this event."""

    id: str
    kind: str
    data: str


def events(lines: Iterable[bytes], last_id: str = "") -> Iterator[ServerSentEvent]:
    """The events in these lines. An event that the end cuts off is dropped, as the standard wants."""
    event_id, kind, data = last_id, "", list[str]()
    for raw in lines:
        line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
        if not line:
            if data:
                yield ServerSentEvent(event_id, kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            event_id = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
