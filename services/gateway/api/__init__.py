"""The HTTP API, one module per resource. Each module ends with its routes."""
