"""The scheduler's handlers against a real Postgres."""
