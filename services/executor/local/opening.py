"""Opens the local backend as the settings describe it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.executor.local.backend import LocalBackend, LocalLimits
from services.executor.local.folders import one_pid_namespace
from services.executor.local.network_choice import NetworkWish
from services.executor.local.sandbox import Sandbox, User, choose, private_folders
from services.executor.settings import ExecutorSettings


@asynccontextmanager
async def open_local_cluster(settings: ExecutorSettings, installation: str) -> AsyncIterator[LocalBackend]:
    """Open the local backend.

    Raises SandboxUnusable if jobs cannot be run as the settings require, and FolderTaken if executors in
    another pid namespace serve the folder.
    """
    folder = settings.local_dir.absolute()
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    hidden, masked = private_folders(settings.encryption_key_file, folder)
    as_root = os.getuid() == 0
    wanted = Sandbox(
        job_user=User(settings.local_job_uid, settings.local_job_uid) if as_root else None,
        clone_user=User(settings.local_clone_uid, settings.local_clone_uid) if as_root else None,
        mounts=settings.local_mounts,
        hidden=(*hidden, *settings.local_hidden),
        masked=masked,
        shm_bytes=settings.local_shm,
        tmp_bytes=settings.local_tmp,
    )
    limits = LocalLimits(
        grace_seconds=settings.grace_seconds,
        gate_seconds=settings.gate_seconds,
        clone_seconds=settings.clone_seconds,
        free_bytes=settings.local_free_bytes,
        processes=settings.local_processes,
        clone_protocols="https:http:file" if settings.allow_local_clone_urls else "https",
    )
    with one_pid_namespace(folder):
        sandbox = await choose(settings.local_sandbox, wanted, folder)
        async with LocalBackend(
            folder, installation, sandbox, limits, NetworkWish(settings.local_network)
        ) as cluster:
            yield cluster
