"""The scheduler: creates runs from forge events, admits their jobs, and records what executors report."""
