"""`towpath admin`: what only administrators do to the installation."""

import typer

from ..errors import CommandError
from ..options import api
from ..output import say

app = typer.Typer(help="The installation; for administrators.")


@app.command("rotate-key")
def rotate_key() -> None:
    """Re-encrypt all stored values with the first key of the key file, while runs continue.

    It may be interrupted and repeated. When nothing is left, the old keys can be removed from the key file.
    """
    client = api()
    done = 0
    while True:
        found = client.post("/encryption/rotate")
        done += found["reencrypted"]
        if found["left"] == 0 or found["reencrypted"] == 0:
            break
    say(f"re-encrypted {done} values with the key {found['first_key']}")
    if found["left"]:
        others = ", ".join(
            f"{count} with {key}"
            for key, count in found["values_by_key"].items()
            if key != found["first_key"]
        )
        unreadable = ", ".join(found["unreadable"][:10])
        raise CommandError(
            f"{found['left']} values are left: {others}",
            f"put their keys back into the key file; unreadable are {unreadable}"
            if unreadable
            else "run it again",
        )
    say("no value needs another key: the old ones can be removed from the key file")
