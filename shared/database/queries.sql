-- name: outbox_insert
-- Store messages, claimed by the process that writes them. $1 owner, $2 types, $3 bodies.
INSERT INTO outbox (owner, type, message, claimed_until)
SELECT $1, type, message, now() + interval '5 seconds'
  FROM unnest($2::text[], $3::bytea[]) AS new (type, message)
RETURNING id;

-- name: migrations_table
-- Where applied migrations are kept.
CREATE TABLE IF NOT EXISTS schema_migrations (
  version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now());

-- name: migrations_applied
-- What was applied, and in which form.
SELECT version, checksum FROM schema_migrations;

-- name: migrations_version
-- The newest migration applied.
SELECT coalesce(max(version), 0) FROM schema_migrations;

-- name: migration_record
-- $1 version, $2 name, $3 checksum.
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3);

-- name: installation_name
-- Name this installation, once. $1 name.
INSERT INTO installation (name) VALUES ($1) ON CONFLICT DO NOTHING;
