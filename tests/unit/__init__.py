"""Unit tests. They open no socket."""
