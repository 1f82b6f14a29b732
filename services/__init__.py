"""The services, each `python -m services.<name>`.

They never import one another; they meet in tables and messages.
"""
