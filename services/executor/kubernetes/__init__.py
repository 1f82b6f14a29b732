"""The Kubernetes backend: runs each attempt as a Job with one gated pod, and a Secret."""
