"""The executor: runs attempts on one named cluster and decides their verdicts."""
