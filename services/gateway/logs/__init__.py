"""Live logs: streams of lines, their limits, and their end when access is lost."""
