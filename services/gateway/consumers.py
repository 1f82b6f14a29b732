"""Handles the gateway's messages: applied commands, and changes that live logs may have to show.

Every gateway receives these messages. They are notifications only: if one is lost, the periodic checks of
`Effects` and `LiveLogs` find the change a little later.
"""

from services.gateway.effects import Effects
from services.gateway.logs.live_logs import LiveLogs
from shared.messaging.messages import (
    CommandApplied,
    LogAppended,
    LogSealed,
    Message,
    RunCreated,
    RunFinished,
    RunStarted,
)


async def on_live(effects: Effects, live: LiveLogs, message: Message) -> None:
    """Wake the requests that wait for this change. Other messages are ignored."""
    match message:
        case CommandApplied():
            effects.applied(message.command_ids)
        case RunCreated() | RunStarted() | RunFinished():
            live.runs_changed(message.run_ids)
        case LogAppended():
            live.appended(message.appended)
        case LogSealed():
            live.sealed()
        case _:
            return
