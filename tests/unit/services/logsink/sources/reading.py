"""Reads the log of a pod on a fake API server as a follower does."""

from collections.abc import Callable

from services.logsink.clusters import KubernetesCluster
from services.logsink.locations import PodName
from services.logsink.sources import Cursor, SourceAway
from services.logsink.sources.kubernetes import ContainerLog, KubernetesSource
from shared.masking import Masker
from tests.harness.waiting import until


class Reader:
    """Reads as a follower does, and keeps what a log sink would store."""

    def __init__(
        self,
        cluster: KubernetesCluster,
        container: str = "job",
        rotated_bytes: int = 10 << 20,
        *,
        has_steps: bool = False,
    ) -> None:
        log = ContainerLog(PodName("builds", "pod-1", "uid-1"), container, rotated_bytes, has_steps=has_steps)
        self._make: Callable[[], KubernetesSource] = lambda: KubernetesSource(cluster, log, Masker([]))
        self.source: KubernetesSource = self._make()
        self.text = b""
        self.gaps: list[str] = []
        self.failures: list[str] = []
        self.cursor: Cursor | None = None
        self.has_ended = False

    async def restart(self) -> None:
        await self.source.close()
        self.source = self._make()
        self.source.start_at(self.cursor)

    async def read(self) -> None:
        """Read until the source has nothing more at the moment."""
        while not self.has_ended:
            try:
                reading = await self.source.read()
            except SourceAway as error:
                self.failures.append(str(error))
                return
            self.text += reading.lines.text
            self.gaps += [why for why in (reading.gap, reading.end and reading.end.gap) if why]
            self.cursor = reading.cursor or self.cursor
            self.has_ended = reading.end is not None
            if not reading.more:
                return

    async def until(self, is_enough: Callable[[], object], what: str = "the log") -> None:
        async def check() -> object:
            await self.source.changed(0.05)
            await self.read()
            return is_enough()

        try:
            await until(check, within=15, what=what)
        except AssertionError:
            raise AssertionError(f"{what}: {self.text[-200:]!r} {self.gaps} {self.failures}") from None

    async def to_the_end(self) -> None:
        await self.until(lambda: self.has_ended, "the end")
