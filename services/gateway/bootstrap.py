"""`python -m services.gateway.bootstrap`: creates the first administrator and prints a token once.

It does nothing if there is an administrator already. With `--new-token` it prints another token of an
administrator. A token created through the API ends with the token that created it, so an administrator's
first token has to be replaced with this option.

Safe to run again and in several replicas at once: the second one finds the administrator.
"""

import argparse
import asyncio
import sys

from services.gateway.people import Scope
from services.gateway.store import open_store
from services.gateway.store.people import NewToken
from shared.crypto import hash_token, new_token
from shared.database.store import open_database
from shared.settings import DatabaseSettings

EMAIL = "admin@towpath.invalid"


async def make_first_admin(settings: DatabaseSettings, email: str) -> str | None:
    """Create the first administrator and return its token, or None if there is an administrator already.

    Raises ValueError if another user has the e-mail address.
    """
    token = new_token()
    async with open_database(settings) as database, open_store(database, None).transaction() as work:
        if await work.has_admin_under_lock():
            return None
        user = await work.insert_user("admin", email.lower(), is_admin=True)
        if user is None:
            raise ValueError(f"{email} belongs to a user who is no active administrator")
        row = await work.insert_token(_admin_token(user["id"], "bootstrap", token))
        await work.audit(
            user["id"], "installation.bootstrapped", f"user:{user['id']}", {"token_id": row["id"]}
        )
    return token


async def add_admin_token(settings: DatabaseSettings, email: str) -> str:
    """Create another token of an administrator, independent of the administrator's other tokens.

    Raises ValueError if the e-mail address belongs to no active administrator.
    """
    token = new_token()
    async with open_database(settings) as database, open_store(database, None).transaction() as work:
        user = await work.user_by_email(email.lower())
        if user is None or not user["is_admin"] or user["disabled_at"] is not None:
            raise ValueError(f"{email} belongs to no active administrator")
        row = await work.insert_token(_admin_token(user["id"], "server", token))
        await work.audit(None, "token.created", f"token:{row['id']}", {"user_id": user["id"], "on": "server"})
    return token


def _admin_token(user_id: int, name: str, token: str) -> NewToken:
    return NewToken(user_id, name, token[:8], hash_token(token), [Scope.ADMIN.value])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.gateway.bootstrap",
        description="Make the first administrator, where there is none.",
    )
    parser.add_argument("--email", default=EMAIL)
    parser.add_argument("--new-token", action="store_true", help="print another token of this administrator")
    arguments = parser.parse_args()
    make = add_admin_token if arguments.new_token else make_first_admin
    try:
        token = asyncio.run(make(DatabaseSettings(), arguments.email))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("There is an administrator already.\n" if token is None else f"TOWPATH_TOKEN={token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
