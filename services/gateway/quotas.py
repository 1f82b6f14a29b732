"""How much one user may have: pipelines and tokens. Repositories are registered by administrators alone.

What an administrator makes is not limited.
"""

from typing import Any, Literal

from services.gateway.people import Scope
from services.gateway.problems import conflict
from services.gateway.routing import Call

Thing = Literal["pipelines", "tokens"]


async def check_quota(work: Any, call: Call[Any, Any], thing: Thing, owner_id: int) -> None:
    """Raises Problem 409 if the owner has as many as the setting allows.

    The user stays locked until the transaction ends, so that requests at the same time can't pass the limit
    together.
    """
    if call.caller.may(Scope.ADMIN):
        return
    limit: int = getattr(call.gateway.settings, f"{thing}_per_user")
    if await work.count_of_user(owner_id, thing) >= limit:
        setting = f"TOWPATH_{thing.upper()}_PER_USER"
        raise conflict(
            f"too_many_{thing}", f"A user may have {limit} {thing} here ({setting}). Delete one first."
        )
