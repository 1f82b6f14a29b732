"""Unit tests of the log sink."""
