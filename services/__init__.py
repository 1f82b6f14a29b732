"""The services. Each is started with `python -m services.<name>`.

Services never import one another. They communicate through tables and messages.
"""
