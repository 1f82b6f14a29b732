"""What gateways hear on the bus: effects of commands, and whatever a live view may have to look at again.

Doorbells only; missing one costs a moment.
"""

from services.gateway.effects import Effects
from services.gateway.live_logs import LiveLogs
from shared.messages import (
    CommandApplied,
    LogAppended,
    LogSealed,
    Message,
    RunCreated,
    RunFinished,
    RunStarted,
)


async def on_live(effects: Effects, live: LiveLogs, message: Message) -> None:
    """Wake whoever waits for this."""
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
