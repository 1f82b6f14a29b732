"""Measures a gateway under attack: `python -m tests.attack`, which `make attack` runs."""
