"""The version of the command. `python -m docs.generate` writes this file from `shared.VERSION`."""

VERSION = "0.1.0"
