"""Unit tests of the command. A small server gives the documented answers."""
