"""A circuit breaker for Postgres.

After `FAILURES_TO_OPEN` failures in a row the circuit is open. Deliveries then go straight to the fallback
queue and do not wait for Postgres. A successful probe closes the circuit.
"""

FAILURES_TO_OPEN = 3


class Circuit:
    """Counts consecutive failures. While open, Postgres must not be tried until `succeeded` is called."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def failed(self) -> None:
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0
