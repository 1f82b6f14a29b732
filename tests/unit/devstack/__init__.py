"""Tests of devstack that start no server."""
