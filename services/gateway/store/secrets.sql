-- name: list_secrets
-- The secrets of a repository, or of the installation. $1 repository, NULL: the installation, $2 before this
-- id, $3 how many.
SELECT id, name, allowed_repositories, created_by, created_at, updated_by, updated_at FROM secrets
 WHERE repository_id IS NOT DISTINCT FROM $1::bigint AND deleted_at IS NULL AND id < $2
 ORDER BY id DESC LIMIT $3;

-- name: one_secret
-- Locked until the transaction ends. $1 repository, NULL: the installation, $2 name.
SELECT id, name, allowed_repositories, created_by, created_at, updated_by, updated_at FROM secrets
 WHERE repository_id IS NOT DISTINCT FROM $1::bigint AND name = $2 AND deleted_at IS NULL FOR UPDATE;

-- name: count_secrets
-- $1 repository.
SELECT count(*) FROM secrets WHERE repository_id = $1 AND deleted_at IS NULL;

-- name: insert_secret
-- $1 repository, NULL: the installation, $2 name, $3 user. No row: there is one of this name.
INSERT INTO secrets (repository_id, name, created_by, updated_by) VALUES ($1, $2, $3, $3)
ON CONFLICT DO NOTHING RETURNING id;

-- name: next_secret_version
-- The id of a new version, which its encryption needs.
SELECT nextval(pg_get_serial_sequence('secret_versions', 'id'));

-- name: insert_secret_version
-- A new value becomes the newest one. $1 version, $2 secret, $3 encrypted value, $4 user.
WITH version AS (
  INSERT INTO secret_versions (id, secret_id, value, created_by) VALUES ($1, $2, $3, $4) RETURNING id)
UPDATE secrets SET version_id = $1, updated_by = $4, updated_at = now()
 WHERE id = $2 AND EXISTS (SELECT FROM version);

-- name: set_secret_repositories
-- $1 secret, $2 the repositories whose jobs may use it, $3 user.
UPDATE secrets SET allowed_repositories = $2, updated_by = $3, updated_at = now() WHERE id = $1;

-- name: delete_secret
-- New attempts do not get it. Its versions stay until no attempt needs them. $1 repository, NULL: the
-- installation, $2 name, $3 user. No row: there was none.
UPDATE secrets SET deleted_at = now(), updated_by = $3, updated_at = now()
 WHERE repository_id IS NOT DISTINCT FROM $1::bigint AND name = $2 AND deleted_at IS NULL RETURNING id;

-- name: known_repositories
-- Which of these repositories there are. $1 repositories.
SELECT id FROM repositories WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL;

-- name: delete_unused_versions
-- Versions that are not the newest of a secret and that no attempt needs. $1 unchanged for so many seconds,
-- $2 how many.
DELETE FROM secret_versions WHERE id IN (
  SELECT v.id FROM secret_versions v JOIN secrets s ON s.id = v.secret_id
   WHERE (s.deleted_at IS NOT NULL OR s.version_id <> v.id)
     AND s.updated_at < now() - make_interval(secs => $1)
     AND NOT EXISTS (SELECT FROM attempts a
                      WHERE a.removed_at IS NULL AND a.secret_versions @> ARRAY[v.id])
   LIMIT $2)
RETURNING id;

-- name: values_of_other_keys
-- Stored values that another key encrypts. $1 the first key's id and a colon, $2 how many. A value begins
-- with the id of its key and a colon.
SELECT * FROM (
  SELECT 'secret_versions' AS place, 'value' AS field, id, value FROM secret_versions
  UNION ALL
  SELECT 'repositories', 'clone_token', id, clone_token FROM repositories WHERE clone_token IS NOT NULL
  UNION ALL
  SELECT 'repositories', 'webhook_secret', id, webhook_secret FROM repositories
   WHERE webhook_secret IS NOT NULL) AS stored
 WHERE substring(value FOR length($1::bytea)) <> $1
 ORDER BY place, field, id LIMIT $2;

-- name: lock_values
-- Take the rows of these values in the order of their ids, until the transaction ends. $1 versions, $2
-- repositories.
WITH versions AS (
  SELECT id FROM secret_versions WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE),
held AS (SELECT id FROM repositories WHERE id = ANY($2::bigint[]) ORDER BY id FOR UPDATE)
SELECT (SELECT count(*) FROM versions) + (SELECT count(*) FROM held);

-- name: reencrypt_secret_version
-- $1 version, $2 the value as it was read, $3 the same, encrypted with another key.
UPDATE secret_versions SET value = $3 WHERE id = $1 AND value = $2 RETURNING id;

-- name: reencrypt_clone_token
-- $1 repository, $2 the token as it was read, $3 the same, encrypted with another key.
UPDATE repositories SET clone_token = $3 WHERE id = $1 AND clone_token = $2 RETURNING id;

-- name: reencrypt_webhook_secret
-- $1 repository, $2 the secret as it was read, $3 the same, encrypted with another key.
UPDATE repositories SET webhook_secret = $3 WHERE id = $1 AND webhook_secret = $2 RETURNING id;

-- name: count_values_by_key
-- How many stored values each key encrypts.
SELECT convert_from(substring(value FOR position('\x3a'::bytea IN value) - 1), 'UTF8') AS key,
  count(*) AS count
  FROM (SELECT value FROM secret_versions
        UNION ALL SELECT clone_token FROM repositories WHERE clone_token IS NOT NULL
        UNION ALL SELECT webhook_secret FROM repositories WHERE webhook_secret IS NOT NULL) AS stored
 GROUP BY 1 ORDER BY 1;
