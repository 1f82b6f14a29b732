"""Attempts on Kubernetes: a Job each, with one gated pod and one Secret."""
