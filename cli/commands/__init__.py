"""The commands, one module per subject. They read options, call the API, and print the answer.

`explain` works offline, with pure code of `shared`.
"""
