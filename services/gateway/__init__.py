"""The gateway: the only entry point for forges, people and programs."""
