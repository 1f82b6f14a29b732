"""The error of this package: something on this machine prevents a command. The message is for people."""


class DevstackError(Exception):
    """A failure, with its fix. `python -m devstack` prints it without a traceback and exits with 1."""
