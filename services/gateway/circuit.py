"""Whether Postgres is worth trying. Pure: it counts what it is told.

After a few failures in a row the circuit is open: deliveries go straight to the inlet and pay no waiting
time. Only a probe that succeeds closes it.
"""

FAILURES_TO_OPEN = 3


class Circuit:
    """Closed: try. Open: don't, until `succeeded` is told."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def failed(self) -> None:
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0
