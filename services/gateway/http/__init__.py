"""The HTTP layer of the gateway: connections, routing, authentication, answers and problems."""
