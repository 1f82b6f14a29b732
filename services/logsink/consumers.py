"""What the log sink does with messages: it opens streams. How a log goes on and ends it sees for itself."""

from collections.abc import Sequence

from services.logsink.sink import Sink
from shared.messages import AttemptFinished, ContainerStarted


async def on_containers(sink: Sink, messages: Sequence[ContainerStarted | AttemptFinished]) -> None:
    """Follow the containers of these attempts.

    Safe to repeat, late or twice: a container has one stream, whoever was first.

    A finished attempt is told here too: where the first message was lost, its log is stored no later than its
    verdict is known.
    """
    await sink.open(sorted({attempt_id for message in messages for attempt_id in message.attempt_ids}))
