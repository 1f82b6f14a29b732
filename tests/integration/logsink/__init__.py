"""Tests of the log sink with a real Postgres and real files."""
