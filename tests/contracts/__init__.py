"""Contract suites. Every implementation of a Protocol passes the suite of that Protocol."""
