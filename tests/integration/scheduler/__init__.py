"""Tests of the scheduler's handlers with a real Postgres."""
