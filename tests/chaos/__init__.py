"""Tests under faults: crash points one by one, random faults under load, and mutants that tests must find."""
