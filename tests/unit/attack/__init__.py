"""Unit tests of `tests.attack`."""
