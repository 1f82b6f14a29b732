"""`python -m services.gateway.bootstrap`: makes the first administrator where there is none, and prints the token once.

Safe to run again and by several replicas at once: whoever comes second finds the administrator.
"""

import argparse
import asyncio
import sys

from services.gateway.people import Scope
from services.gateway.store import open_store
from shared.crypto import hash_token, new_token
from shared.db import open_database
from shared.settings import DatabaseSettings

EMAIL = "admin@towpath.invalid"


async def make_first_admin(settings: DatabaseSettings, email: str) -> str | None:
    """The administrator's token; None when there is an administrator already. Raises ValueError when somebody else has the e-mail address."""
    token = new_token()
    async with open_database(settings) as database, open_store(database, None).transaction() as work:
        if await work.has_admin_under_lock():
            return None
        user = await work.insert_user("admin", email.lower(), is_admin=True)
        if user is None:
            raise ValueError(f"{email} belongs to a user who is no active administrator")
        row = await work.insert_token(user["id"], "bootstrap", (token[:8], hash_token(token)), [Scope.ADMIN.value], None)
        await work.audit(user["id"], "installation.bootstrapped", f"user:{user['id']}", {"token_id": row["id"]})
    return token


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.gateway.bootstrap", description="Make the first administrator, where there is none.")
    parser.add_argument("--email", default=EMAIL)
    arguments = parser.parse_args()
    try:
        token = asyncio.run(make_first_admin(DatabaseSettings(), arguments.email))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("There is an administrator already.\n" if token is None else f"TOWPATH_TOKEN={token}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
