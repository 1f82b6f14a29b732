"""The log sink against a real Postgres and real files."""
