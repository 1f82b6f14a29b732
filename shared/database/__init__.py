"""PostgreSQL: connections, named statements, transactions with their outbox, and migrations."""
