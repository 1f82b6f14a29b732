"""The OpenAPI document is valid, and the gateway answers thousands of generated requests as it describes."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.harness.installation import Towpath
from tests.harness.scenes import job, scene

HERE = Path(__file__).parent
SEED = 20261123
"""The fixed seed of the generated requests, so that a failure can be repeated."""
FAULT_OF_PYTHON = "AST constructor recursion depth mismatch"
"""An error that CPython 3.11 may raise in a program that parses Python while it parses Python.

It is a bug of CPython (github.com/python/cpython/issues/106905), not of Towpath.
"""


async def test_the_document_is_valid_openapi_31(towpath: Towpath) -> None:
    document = (await towpath.admin.as_(None).get("/openapi.json")).expect(200).json
    assert document["openapi"].startswith("3.1.")
    faults = [
        f"{list(fault.absolute_path)}: {fault.message}"
        for fault in OpenAPIV31SpecValidator(document).iter_errors()
    ]
    assert faults == []


async def test_every_operation_has_a_name_a_summary_and_described_answers(towpath: Towpath) -> None:
    document = (await towpath.admin.as_(None).get("/openapi.json")).expect(200).json
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(
        operation["summary"] and all(answer["description"] for answer in operation["responses"].values())
        for operation in operations
    )


@pytest.mark.timeout(800)
async def test_generated_requests_find_nothing_that_differs_from_the_document(
    own_towpath: Towpath, tmp_path: Path
) -> None:
    """The test has an installation of its own.

    It may delete everything there, and the same ids make the same requests.
    """
    towpath = own_towpath
    one = await scene(towpath, {"only": job("echo hi")})
    run = await one.ran()
    spare = await towpath.person()
    known = {
        "pipeline": one.pipeline["id"],
        "run": run["id"],
        "repository": run["repository_id"],
        "event": run["event_id"],
    }
    known |= {"delivery": run["provenance"]["delivery_id"], "user": spare.id}
    config = tmp_path / "schemathesis.toml"
    config.write_text(Template((HERE / "schemathesis.toml").read_text()).substitute(known))

    done = await asyncio.to_thread(ask, config, towpath, tmp_path)
    if FAULT_OF_PYTHON in done.stdout:
        done = await asyncio.to_thread(ask, config, towpath, tmp_path)

    assert done.returncode == 0, f"seed {SEED}\n{done.stdout}\n{done.stderr}"
    assert "Tested: " in done.stdout
    (await towpath.admin.get("/users/me")).expect(200)


def ask(config: Path, towpath: Towpath, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run schemathesis in a process of its own, in a directory where it may leave files."""
    program = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(config),
        "run",
        f"{towpath.url}/openapi.json",
    ]
    options = ["--header", f"Authorization: Bearer {towpath.admin.token}", "--seed", str(SEED)]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        [*program, *options],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
