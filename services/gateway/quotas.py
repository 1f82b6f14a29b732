"""Limits the number of pipelines and tokens of one user.

Repositories need no limit, because only administrators register them. Objects that an administrator creates
are not limited.
"""

from typing import Any, Literal

from services.gateway.http.problems import conflict
from services.gateway.http.routing import Call
from services.gateway.people import Scope

Thing = Literal["pipelines", "tokens"]


async def check_quota(work: Any, call: Call[Any, Any], thing: Thing, owner_id: int) -> None:
    """Raise Problem 409 if the owner has as many of these objects as the setting allows.

    The user's row stays locked until the transaction ends, so concurrent requests cannot exceed the limit
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
