"""Fakes of external systems. Each passes the contract suite of the real system."""
