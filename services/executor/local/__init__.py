"""The local cluster: attempts as processes of this machine, each pod a directory with its own supervisor."""
