"""Tests of the circuit breaker: three failures in a row open it, one success closes it."""

from services.gateway.webhooks.circuit import FAILURES_TO_OPEN, Circuit


def test_failures_in_a_row_open_it() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_TO_OPEN):
        assert not circuit.is_open
        circuit.failed()
    assert circuit.is_open


def test_a_success_between_them_keeps_it_closed() -> None:
    circuit = Circuit()
    for _ in range(10):
        circuit.failed()
        circuit.failed()
        circuit.succeeded()
    assert not circuit.is_open


def test_a_success_closes_it() -> None:
    circuit = Circuit()
    for _ in range(10):
        circuit.failed()
    circuit.succeeded()
    assert not circuit.is_open
