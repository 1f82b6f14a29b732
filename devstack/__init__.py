"""Towpath on one machine: private servers and the services as processes on loopback, for `make up`, `make
demo` and the tests.

Nothing here is part of a deployment, and no service imports it. Everything it starts listens on loopback
only, keeps its state below one directory, and is found again by pid and start time, so that a stranger's
process is never signalled.
"""
