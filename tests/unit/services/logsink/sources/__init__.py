"""Unit tests of the sources of logs."""
