"""`python -m bench B1 --profile`: samples Towpath's services with py-spy while a figure is measured.

There is a file for each service. py-spy is not a dependency of the project: install it with `pip install
py-spy`. Figures measured with it are slower.
"""

import asyncio
import collections
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.sending import BenchError
from devstack.processes import Process

SAMPLES_PER_SECOND = 200
SHOWN = 25
_WAITING = ("EpollSelector.select ", "_worker (concurrent/futures/thread.py")
"""Functions in which an event loop and an idle thread wait. On some machines py-spy counts that as work."""


class Profiler:
    """Samples processes for the duration of a block."""

    def __init__(self, directory: Path) -> None:
        """Raises BenchError if py-spy is missing."""
        found = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
        if found is None:
            raise BenchError("--profile needs py-spy: .venv/bin/python -m pip install py-spy")
        self._py_spy = found
        self._directory = directory
        directory.mkdir(exist_ok=True)

    @asynccontextmanager
    async def of(self, key: str, processes: Mapping[str, Process | None]) -> AsyncIterator[None]:
        """Start a sampler for each process. The summaries are `<directory>/<key>-<name>.txt`."""
        for old in self._directory.glob(f"{key}-*"):
            old.unlink()
        samplers = {
            name: await self._start(self._samples(key, name), process)
            for name, process in processes.items()
            if process
        }
        try:
            yield
        finally:
            for name, sampler in samplers.items():
                await _end(sampler)
                samples = self._samples(key, name)
                if samples.exists():
                    samples.with_suffix(".txt").write_text(summary(samples.read_text().splitlines()))

    def _samples(self, key: str, name: str) -> Path:
        return self._directory / f"{key}-{name}.samples"

    async def _start(self, samples: Path, process: Process) -> asyncio.subprocess.Process:
        argv = [
            "record",
            "--pid",
            str(process.pid),
            "--rate",
            str(SAMPLES_PER_SECOND),
            "--format",
            "raw",
            "--function",
            "--output",
            str(samples),
        ]
        return await asyncio.create_subprocess_exec(
            self._py_spy, *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )


async def _end(sampler: asyncio.subprocess.Process) -> None:
    """Interrupt py-spy, so that it writes its samples, and wait for it."""
    if sampler.returncode is None:
        sampler.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(sampler.wait(), 20)
    except TimeoutError:
        sampler.kill()
        await sampler.wait()


def summary(samples: Iterable[str]) -> str:
    """Return functions by their own time, and by their time including calls, as shares of the samples.

    A sample is `outer;…;inner count`.
    """
    own: collections.Counter[str] = collections.Counter()
    whole: collections.Counter[str] = collections.Counter()
    total = 0
    for sample in samples:
        stack, _, number = sample.rpartition(" ")
        functions, count = stack.split(";"), int(number)
        if functions[-1].startswith(_WAITING):
            continue
        total += count
        own[functions[-1]] += count
        whole.update(dict.fromkeys(functions, count))
    parts = [f"{total} samples at work"]
    # Functions that are in every sample carry no information.
    telling = collections.Counter({function: count for function, count in whole.items() if count < total})
    for title, counter in (("own time", own), ("with what they call", telling)):
        parts += [
            "",
            title,
            *(f"{100 * count / total:6.1f} %  {function}" for function, count in counter.most_common(SHOWN)),
        ]
    return "\n".join(parts) + "\n"
