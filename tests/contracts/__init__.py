"""Suites that every implementation of a Protocol passes."""
