"""The resource `encryption`: the keys with which stored values are encrypted, and their rotation.

A rotation re-encrypts every stored value with the first key of the key file. Each request re-encrypts one
small batch, so it may be interrupted and repeated, and runs continue meanwhile. A value that was changed in
the meantime is not touched: it is encrypted with the first key already.
"""

from typing import Any

from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import View, json_answer
from services.gateway.http.problems import unavailable
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from services.gateway.store.secrets import StoredValue
from shared.crypto import DecryptionFailed, Keyring

BATCH = 100


class Encryption(View):
    first_key: str = Field(description="The id of the key that encrypts.")
    values_by_key: dict[str, int] = Field(description="How many stored values each key encrypts, by its id.")
    left: int = Field(description="The stored values that other keys encrypt.")


class Rotation(Encryption):
    reencrypted: int = Field(description="The values that this request re-encrypted.")
    unreadable: list[str] = Field(
        description="Values that no key of the key file decrypts, as `table.column:row`; at most 100."
    )


def _keyring(call: Call[Any, Any]) -> Keyring:
    if call.gateway.keyring is None:
        raise unavailable("This gateway has no encryption keys, so it keeps no secrets.")
    return call.gateway.keyring


def _of(keyring: Keyring, counts: dict[str, int]) -> dict[str, Any]:
    left = sum(count for key, count in counts.items() if key != keyring.first)
    return {"first_key": keyring.first, "values_by_key": counts, "left": left}


def _place(value: StoredValue) -> str:
    return f"{value.table}.{value.column}:{value.row}"


def _with_first_key(keyring: Keyring, value: StoredValue) -> bytes:
    """Return the same value, encrypted with the first key. Raises DecryptionFailed."""
    table, column, row, encrypted = value
    plain = keyring.decrypt(encrypted, table=table, column=column, row=row)
    return keyring.encrypt(plain, table=table, column=column, row=row)


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    keyring = _keyring(call)
    async with call.gateway.store.reading() as work:
        return json_answer(Encryption.of(_of(keyring, await work.count_values_by_key())))


async def rotate(call: Call[NoBody, NoFilters]) -> web.Response:
    keyring = _keyring(call)
    reencrypted, unreadable = 0, []
    async with call.gateway.store.transaction() as work:
        # Values that cannot be decrypted must not keep the others from their turn.
        found = await work.values_of_other_keys(keyring.first, 10 * BATCH)
        readable = []
        for value in found:
            try:
                readable.append((value, _with_first_key(keyring, value)))
            except DecryptionFailed:
                unreadable.append(_place(value))
            if len(readable) == BATCH:
                break
        await work.lock_values([value for value, _ in readable])
        for value, encrypted in readable:
            reencrypted += await work.reencrypt(value, encrypted)
        details = {"key": keyring.first, "reencrypted": reencrypted}
        if reencrypted:
            await work.audit(call.caller.user_id, "encryption.rotated", "installation", details)
        counts = await work.count_values_by_key()
    return json_answer(
        Rotation.of(_of(keyring, counts), reencrypted=reencrypted, unreadable=unreadable[:BATCH])
    )


ROUTES = (
    Route(
        method="GET",
        path="/encryption",
        handler=show,
        summary="How many stored values each key encrypts.",
        scope=Scope.ADMIN,
        answers={200: Answer("The keys in use.", Encryption)},
    ),
    Route(
        method="POST",
        path="/encryption/rotate",
        handler=rotate,
        summary="Re-encrypt a batch of stored values with the first key. Repeat it until `left` is 0.",
        scope=Scope.ADMIN,
        answers={200: Answer("What was done and what is left.", Rotation)},
    ),
)
