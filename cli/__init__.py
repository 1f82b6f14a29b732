"""The `towpath` command: the HTTP API at a terminal.

It imports no service, keeps no state, and prints no text that could control the terminal.
"""
