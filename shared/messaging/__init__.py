"""Messages between services: their types, the queues, publishing, consuming, and the outbox."""
