"""The one error of this package: something on this machine is not as it must be, said in words for the person
at the terminal.
"""


class DevstackError(Exception):
    """What failed and what to do about it; `python -m devstack` prints it and exits 1, without a
    traceback.
    """
