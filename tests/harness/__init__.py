"""The basis of the end-to-end tests: an installation as processes, a client, signed payloads, and oracles."""
