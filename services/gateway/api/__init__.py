"""The HTTP API, a module a subject. Each module ends with its routes."""
