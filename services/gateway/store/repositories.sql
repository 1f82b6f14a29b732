-- name: insert_repository
-- $1 forge, $2 forge id, $3 full name, $4 clone URL, $5 hook key, $6 user. No row: name or forge id is
-- registered.
INSERT INTO repositories (forge, forge_id, full_name, clone_url, hook_key, created_by) VALUES ($1, $2, $3, $4,
       $5, $6)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: set_webhook_secret
-- $1 repository, $2 encrypted, NULL: the forge-wide secret counts.
UPDATE repositories SET webhook_secret = $2 WHERE id = $1;

-- name: set_clone_token
-- $1 repository, $2 encrypted, NULL: none.
UPDATE repositories SET clone_token = $2 WHERE id = $1;

-- name: one_repository
-- A repository where the user may see it, with the user's role. $1 repository, $2 user, $3 administrator.
SELECT r.id, r.forge, coalesce(r.forge_id, i.forge_id) AS forge_id, r.full_name, r.clone_url, r.hook_key,
  r.hook_target_type, r.version, r.created_by, r.created_at,
       r.updated_at, r.webhook_secret IS NOT NULL AS has_webhook_secret,
         r.clone_token IS NOT NULL AS has_clone_token, g.role
  FROM repositories r
  LEFT JOIN grants g ON g.repository_id = r.id AND g.user_id = $2
  LEFT JOIN repository_identities i ON i.repository_id = r.id
 WHERE r.id = $1 AND r.deleted_at IS NULL AND ($3 OR g.user_id IS NOT NULL);

-- name: lock_repository
-- Held until the transaction ends. $1 repository.
SELECT id, version FROM repositories WHERE id = $1 AND deleted_at IS NULL FOR UPDATE;

-- name: list_repositories
-- $1 user, $2 administrator, $3 before this id, $4 how many, $5 full name, $6 forge.
SELECT r.id, r.forge, coalesce(r.forge_id, i.forge_id) AS forge_id, r.full_name, r.clone_url, r.hook_key,
  r.hook_target_type, r.version, r.created_by, r.created_at,
       r.updated_at, r.webhook_secret IS NOT NULL AS has_webhook_secret,
         r.clone_token IS NOT NULL AS has_clone_token, g.role
  FROM repositories r
  LEFT JOIN grants g ON g.repository_id = r.id AND g.user_id = $1
  LEFT JOIN repository_identities i ON i.repository_id = r.id
 WHERE r.deleted_at IS NULL AND ($2 OR g.user_id IS NOT NULL) AND r.id < $3
   AND ($5::text IS NULL OR lower(r.full_name) = lower($5)) AND ($6::text IS NULL OR r.forge = $6)
 ORDER BY r.id DESC LIMIT $4;

-- name: change_repository
-- $1 repository, $2 full name, $3 clone URL, $4 forge id, $5 hook target type; NULL leaves a column as it is.
UPDATE repositories SET full_name = coalesce($2, full_name), clone_url = coalesce($3, clone_url),
  forge_id = coalesce($4, forge_id),
       hook_target_type = coalesce($5, hook_target_type), version = version + 1, updated_at = now()
 WHERE id = $1;

-- name: delete_repository
-- Its hooks are refused and its events unknown from here on; what happened stays readable. $1 repository.
UPDATE repositories SET deleted_at = now(), version = version + 1, updated_at = now() WHERE id = $1
  AND deleted_at IS NULL RETURNING id;

-- name: hook_secrets
-- All repositories with a secret of their own, with the identity that verified deliveries taught.
SELECT r.id, r.forge, coalesce(r.forge_id, i.forge_id) AS forge_id,
  coalesce(i.full_name, r.full_name) AS full_name, r.hook_key, r.webhook_secret
  FROM repositories r LEFT JOIN repository_identities i ON i.repository_id = r.id
 WHERE r.deleted_at IS NULL AND r.webhook_secret IS NOT NULL;

-- name: list_grants
-- Who may do what with a repository. $1 repository, $2 user ids before this one, $3 how many.
SELECT g.user_id AS id, g.user_id, u.name, u.email, g.role, g.created_at
  FROM grants g JOIN users u ON u.id = g.user_id WHERE g.repository_id = $1 AND g.user_id < $2
    ORDER BY g.user_id DESC LIMIT $3;

-- name: set_grant
-- $1 repository, $2 user, $3 role. No row: there is no such user.
INSERT INTO grants (repository_id, user_id, role) SELECT $1, u.id, $3 FROM users u WHERE u.id = $2
ON CONFLICT (repository_id, user_id) DO UPDATE SET role = excluded.role
RETURNING user_id;

-- name: one_grant
-- $1 repository, $2 user.
SELECT g.user_id AS id, g.user_id, u.name, u.email, g.role, g.created_at
  FROM grants g JOIN users u ON u.id = g.user_id WHERE g.repository_id = $1 AND g.user_id = $2;

-- name: delete_grant
-- $1 repository, $2 user. No row: there was none.
DELETE FROM grants WHERE repository_id = $1 AND user_id = $2 RETURNING user_id;
