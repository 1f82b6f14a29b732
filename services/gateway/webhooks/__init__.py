"""Webhooks: verified, then stored in Postgres or in the fallback queue."""
