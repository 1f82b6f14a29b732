"""Code that all services share: statuses, messages, database, bus. It imports no service."""

VERSION = "0.1.0"
