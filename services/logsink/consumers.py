"""Message handler of the log sink: opens the streams of attempts.

No other messages are needed: a follower observes by itself how a log continues and ends.
"""

from collections.abc import Sequence

from services.logsink.sink import Sink
from shared.messaging.messages import AttemptFinished, ContainerStarted


async def on_containers(sink: Sink, messages: Sequence[ContainerStarted | AttemptFinished]) -> None:
    """Follows the containers of these attempts.

    Safe to repeat and to run late or twice, because a container has only one stream. Finished attempts are
    handled too: if the first message was lost, the log is opened at the latest when the verdict is known.
    """
    await sink.open(sorted({attempt_id for message in messages for attempt_id in message.attempt_ids}))
