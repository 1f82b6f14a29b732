"""The executor: runs attempts on one cluster and says what became of them."""
