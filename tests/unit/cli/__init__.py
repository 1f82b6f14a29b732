"""The command, against a small server that answers the documented shapes."""
