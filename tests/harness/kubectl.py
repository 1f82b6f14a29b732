"""kubectl, as an operator uses it."""

import asyncio
import shutil
from pathlib import Path

from tests.harness.kubernetes import kubeconfig


def find_kubectl() -> str | None:
    return shutil.which("kubectl")


async def kubectl(*arguments: str, stdin: str = "") -> str:
    """Run kubectl and return its output. Raises AssertionError with its error message if it fails."""
    program, path = find_kubectl(), kubeconfig()
    assert program is not None
    where = ["--kubeconfig", str(path)] if path else []
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, *where, *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, error = await process.communicate(stdin.encode())
    assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {error.decode(errors='replace')}"
    return out.decode()


async def kustomized(folder: Path) -> str:
    return await kubectl("kustomize", str(folder))
