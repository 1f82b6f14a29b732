"""The ground that services stand on, against real servers."""
