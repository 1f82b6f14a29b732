"""Secrets of jobs: they reach the steps, and none of their forms is stored or shown anywhere."""

import base64
import hashlib
import json
import secrets as random
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from shared.masking import forms_of
from tests.harness.installation import Towpath
from tests.harness.scenes import Scene, job, scene

PRYING = r"""
env
{ cat /proc/*/environ 2>/dev/null || true; } | tr '\0' '\n'
{ cat /proc/*/cmdline 2>/dev/null || true; } | tr '\0' '\n'
ls -la . "$HOME"; cat -- * 2>/dev/null || true
printf '%s' "$DEPLOY_KEY" | base64 -w0; echo
printf 'x%s' "$DEPLOY_KEY" | base64 -w0; echo
printf 'xy%s' "$DEPLOY_KEY" | base64 -w0; echo
echo "$COMPOSED" "$STEP" "$MIXED"
echo "::error file=a,line=1::$DEPLOY_KEY"
echo "out=$DEPLOY_KEY" >> "$TOWPATH_OUTPUT"
echo "rest=the rest" >> "$TOWPATH_OUTPUT"
printf '%s' "$DEPLOY_KEY" > here
"""


async def set_secret(one: Scene, name: str, value: str) -> int:
    """Set a secret of the scene's repository, and return the repository's id."""
    found = (await one.person.client.get("/repositories")).expect(200).json["items"]
    repository_id = int(next(row["id"] for row in found if row["full_name"] == one.repository.full_name))
    path = f"/repositories/{repository_id}/secrets/{name}"
    (await one.person.client.put(path, {"value": value})).expect(200)
    return repository_id


def prying_job(value: str) -> dict[str, Any]:
    checks = [
        f'test "$(printf %s "$DEPLOY_KEY" | sha256sum | cut -c1-64)" = {digest(value)}',
        'test "$COMPOSED" = "Bearer $DEPLOY_KEY"',
        'test "$STEP" = "step $DEPLOY_KEY"',
        'test "$MIXED" = "done-$DEPLOY_KEY"',
    ]
    env = {
        "STEP": "step ${{ secrets.DEPLOY_KEY }}",
        "MIXED": "${{ steps.a.outputs.b }}-${{ secrets.DEPLOY_KEY }}",
    }
    return job(
        {"id": "a", "run": "test -z ${STEP+set}; echo b=done >> $TOWPATH_OUTPUT"},
        {"id": "pry", "run": "\n".join([*checks, PRYING]), "env": env},
        {"run": "exit 3", "if": "env.DEPLOY_KEY == ''"},
        secrets=["DEPLOY_KEY"],
        env={"COMPOSED": "Bearer ${{ secrets.DEPLOY_KEY }}"},
        outputs={"out": "${{ steps.pry.outputs.out }}", "rest": "${{ steps.pry.outputs.rest }}"},
    )


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


async def everything_stored(towpath: Towpath) -> bytes:
    """Return all rows of all tables but the encrypted values, as text, and the logs of services."""
    connection = await asyncpg.connect(towpath.stack.database_url)
    try:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        rows = [
            await connection.fetch(f'SELECT row_to_json(t)::text FROM "{table[0]}" t') for table in tables
        ]
        messages = await connection.fetch("SELECT convert_from(message, 'UTF8') FROM outbox")
    finally:
        await connection.close()
    text = "\n".join(row[0] for found in [*rows, messages] for row in found).encode()
    logs = (path.read_bytes() for path in towpath.stack.log("gateway").parent.glob("*.log"))
    return b"".join([text, *logs])


@pytest.mark.pods("a pod gets its secrets by references to the cluster's objects")
async def test_a_secret_reaches_its_job_and_is_stored_nowhere(towpath: Towpath) -> None:
    value = f'k3y"/+&<>{random.token_hex(8)} ü'
    uses = job('test "$GOT" = "***"; test "$REST" = "the rest"', needs=["pry"])
    uses["env"] = {"GOT": "${{ needs.pry.outputs.out }}", "REST": "${{ needs.pry.outputs.rest }}"}
    one = await scene(towpath, {"pry": prying_job(value), "uses": uses})
    await set_secret(one, "DEPLOY_KEY", value)
    run = await one.ran(within=60)
    log = await towpath.log(run["id"], "pry")
    assert [(found["status"], found["message"]) for found in run["jobs"]] == [("success", None)] * 2, log
    assert b"DEPLOY_KEY=***" in log
    assert b"Bearer ***" in log
    (attempt,) = run["jobs"][0]["attempts"]
    assert any("replaced by ***" in line for line in attempt["warnings"])
    shown = log + json.dumps(run).encode() + await everything_stored(towpath)
    assert [form for form in forms_of(value.encode()) if form in shown] == []
    assert base64.b64encode(value.encode()) not in shown
    assert quote(value).encode() not in shown


async def test_a_job_whose_secret_is_not_set_says_how_to_set_it(towpath: Towpath) -> None:
    one = await scene(towpath, {"deploy": job("true", secrets=["MISSING"])})
    run = await one.ran()
    (found,) = run["jobs"]
    assert (found["status"], found["reason"]) == ("error", "config_invalid")
    (attempt,) = found["attempts"]
    command = f"towpath secrets set MISSING --repository {one.repository.full_name}"
    assert command in (found["message"] or "") + (attempt["message"] or "")
