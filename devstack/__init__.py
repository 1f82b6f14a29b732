"""Towpath on one machine: private servers, and services as processes on loopback.

`make up`, `make demo` and the tests use it. It is not part of a deployment, and no service imports it. All
processes listen on loopback only and keep their state below one directory. They are identified by pid and
start time, so a signal never reaches another program's process.
"""
