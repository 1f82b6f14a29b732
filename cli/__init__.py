"""The `towpath` command: the HTTP API at a terminal.

It imports no service, keeps no state, and prints nothing that could act on the terminal.
"""
