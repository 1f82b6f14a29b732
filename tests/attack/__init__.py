"""A gateway under attack, measured: `python -m tests.attack`, which `make attack` runs."""
