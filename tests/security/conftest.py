"""The fixtures of the attacked systems: the local cluster and the gateway."""

from tests.contracts.conftest import folder, local_cluster, origin, sandbox
from tests.integration.gateway.conftest import served, shared_gateway

__all__ = ["folder", "local_cluster", "origin", "sandbox", "served", "shared_gateway"]
