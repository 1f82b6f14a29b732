"""What the services share: words, messages, the database, the bus. It imports no service."""

VERSION = "0.1.0"
