"""The gateway: the one door for forges, people and programs."""
