"""The secrets of attempts: which versions they get, what the job sees, and what is stored about it."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from services.executor.masking import MASKED
from services.executor.planning import UNSET_SECRETS
from shared.crypto import Keyring
from shared.pipeline.model import Step
from tests.integration.executor.test_attempts import ready
from tests.integration.executor.world import World

VALUE = "hunter2-and-more"


@pytest.fixture
def keyring(world: World, tmp_path: Path) -> Keyring:
    path = tmp_path / "keys"
    path.write_text(f"first:{base64.b64encode(os.urandom(32)).decode()}\n")
    world.settings = world.settings.model_copy(update={"encryption_key_file": path})
    return Keyring.from_file(path)


async def store(
    world: World, keyring: Keyring, name: str, value: str, *, shared: bool = False, **columns: Any
) -> int:
    """Store a secret of the run's repository, or one of the installation, as a gateway does."""
    secret: int = await world.sql.fetchval(
        "INSERT INTO secrets (repository_id, name, created_by, updated_by, allowed_repositories, deleted_at) "
        "SELECT CASE WHEN NOT $2 THEN p.id END, $1, p.created_by, p.created_by, "
        "CASE WHEN $3 THEN ARRAY[p.id] ELSE '{}' END, CASE WHEN $4 THEN now() END "
        "FROM repositories p RETURNING id",
        name,
        shared,
        columns.get("allowed", False),
        columns.get("deleted", False),
    )
    version: int = await world.sql.fetchval("SELECT nextval(pg_get_serial_sequence('secret_versions', 'id'))")
    encrypted = keyring.encrypt(value.encode(), table="secret_versions", column="value", row=version)
    await world.sql.execute(
        "INSERT INTO secret_versions (id, secret_id, value, created_by) "
        "SELECT $1, id, $3, created_by FROM secrets WHERE id = $2",
        version,
        secret,
        encrypted,
    )
    await world.sql.execute("UPDATE secrets SET version_id = $2 WHERE id = $1", secret, version)
    return version


async def test_an_attempt_pins_the_versions_and_its_stored_text_is_masked(
    world: World, keyring: Keyring
) -> None:
    own = await store(world, keyring, "KEY", VALUE)
    await store(world, keyring, "KEY", "the installation's", shared=True, allowed=True)
    shared = await store(world, keyring, "SHARED", "shared-value", shared=True, allowed=True)
    step = Step(id="a", run=f'test "$KEY$SHARED" = {VALUE}shared-value; echo "x=$KEY" >> "$TOWPATH_OUTPUT"')
    outputs = {"x": "${{ steps.a.outputs.x }}"}
    async with world.executor() as executor:
        wanted = await world.job(steps=(step,), secrets=("KEY", "SHARED"), outputs=outputs)
        await executor.consumers.on_messages([ready(wanted)])
        attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["message"]) == ("success", None)
    assert sorted(attempt["secret_versions"]) == sorted([own, shared])
    assert attempt["outputs"] in ({"a": {"x": "***"}}, '{"a": {"x": "***"}}')
    assert MASKED in attempt["warnings"]


@pytest.mark.parametrize("how", ["never set", "deleted", "for other repositories"])
async def test_a_secret_that_is_not_set_ends_the_job_with_its_name(
    world: World, keyring: Keyring, how: str
) -> None:
    if how == "deleted":
        await store(world, keyring, "KEY", VALUE, deleted=True)
    if how == "for other repositories":
        await store(world, keyring, "KEY", VALUE, shared=True)
    async with world.executor() as executor:
        wanted = await world.job(secrets=("KEY",))
        await executor.attempts.start([wanted])
    attempt = await world.attempt(wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("error", "config_invalid")
    assert "`towpath secrets set KEY --repository octo/web`" in attempt["message"]


async def test_an_untrusted_attempt_has_no_version_and_says_so(world: World, keyring: Keyring) -> None:
    await store(world, keyring, "KEY", VALUE)
    await world.sql.execute("UPDATE events SET trusted = false")
    wanted = await world.job(secrets=("KEY",))
    spec = await world.inserted(wanted)
    assert not spec.secrets
    attempt = await world.attempt(wanted)
    assert (attempt["secret_versions"], attempt["warnings"]) == ([], [UNSET_SECRETS])


async def test_a_job_without_secrets_pins_nothing(world: World, keyring: Keyring) -> None:
    await store(world, keyring, "KEY", VALUE)
    wanted = await world.job()
    await world.inserted(wanted)
    assert (await world.attempt(wanted))["secret_versions"] is None
