"""The fixtures of the places that are attacked: the local cluster's and the gateway's."""

from tests.contracts.conftest import folder, local_cluster, origin, sandbox
from tests.integration.gateway.conftest import served, shared_gateway

__all__ = ["folder", "local_cluster", "origin", "sandbox", "served", "shared_gateway"]
