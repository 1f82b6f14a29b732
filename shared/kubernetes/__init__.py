"""Access to the API server of Kubernetes."""
