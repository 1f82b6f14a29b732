"""The rotation of encryption keys. It has a gateway of its own, which other tests could not use any more."""

from pathlib import Path

from shared.crypto import Keyring
from tests.integration.gateway.serving import Serving
from tests.integration.gateway.test_secrets import VALUE, maintained


async def test_a_rotation_reencrypts_everything_in_batches(served: Serving, tmp_path: Path) -> None:
    repository, _, person = await maintained(served)
    path = f"/repositories/{repository}"
    old = served.gateway.keyring
    assert old is not None
    (
        await served.admin.request("PATCH", path, {"clone_token": "a token", "webhook_secret": "a hook's"})
    ).expect(200)
    for number in range(5):
        (await person.put(f"{path}/secrets/KEY_{number}", {"value": VALUE})).expect(200)
    key_file = served.gateway.settings.encryption_key_file
    assert key_file is not None
    (tmp_path / "keys").write_text("newest:" + "A" * 43 + "=\n" + key_file.read_text())
    object.__setattr__(served.gateway, "keyring", Keyring.from_file(tmp_path / "keys"))
    try:
        before = (await served.admin.get("/encryption")).expect(200).json
        found = (await served.admin.post("/encryption/rotate")).expect(200).json
        again = (await served.admin.post("/encryption/rotate")).expect(200).json
    finally:
        object.__setattr__(served.gateway, "keyring", old)
    assert before["left"] >= 7
    assert (found["reencrypted"], found["left"], found["unreadable"]) == (before["left"], 0, [])
    assert (again["reencrypted"], again["left"]) == (0, 0)
    (tmp_path / "keys").write_text("newest:" + "A" * 43 + "=\n")
    alone = Keyring.from_file(tmp_path / "keys")
    for row in await served.rows("SELECT id, value FROM secret_versions"):
        alone.decrypt(row["value"], table="secret_versions", column="value", row=row["id"])
    (row,) = await served.rows("SELECT clone_token FROM repositories WHERE id = $1", repository)
    token = alone.decrypt(row["clone_token"], table="repositories", column="clone_token", row=repository)
    assert token == b"a token"
