"""Server-sent events: parses lines into events, as the HTML standard defines. Pure.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event. Send its `id` as Last-Event-ID to continue after it."""

    id: str
    kind: str
    data: str


def events(lines: Iterable[bytes], last_id: str = "") -> Iterator[ServerSentEvent]:
    """Yield the events in these lines.

    An incomplete event at the end is dropped, as the standard requires.
    """
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
