-- name: insert_audit
-- Note what somebody did. $1 user (none: a forge), $2 action, $3 object, $4 details, $5 token, $6 address,
-- $7 trace.
INSERT INTO audit_log (user_id, action, object, details, token_id, address, traceparent)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: token_by_hash
-- Who a token speaks for; no row when it is unknown, expired, revoked, or its user disabled. $1 hash.
SELECT t.id AS token_id, t.user_id, t.scopes, u.name, u.is_admin, t.last_used_at IS NULL
  OR t.last_used_at < now() - interval '1 minute' AS is_stale
  FROM api_tokens t JOIN users u ON u.id = t.user_id
 WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
   AND u.disabled_at IS NULL;

-- name: touch_token
-- A token was used; noted at most once a minute. $1 token.
UPDATE api_tokens SET last_used_at = now() WHERE id = $1
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: insert_token
-- $1 user, $2 name, $3 prefix, $4 hash, $5 scopes, $6 expires_at, $7 the token that makes it (NULL: none).
INSERT INTO api_tokens (user_id, name, prefix, hash, scopes, expires_at, parent_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at, parent_id;

-- name: hold_token_and_ancestors
-- A token and all that it comes from, the oldest first, held until the end of the transaction: nobody can
-- revoke one of them meanwhile and miss a new child. $1 token.
WITH RECURSIVE line AS (
  SELECT id, parent_id FROM api_tokens WHERE id = $1
  UNION ALL
  SELECT t.id, t.parent_id FROM line JOIN api_tokens t ON t.id = line.parent_id)
SELECT t.id, t.expires_at,
       t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp()) AS is_valid
  FROM api_tokens t
 WHERE t.id = ANY(ARRAY(SELECT id FROM line))
 ORDER BY t.id
   FOR SHARE;

-- name: list_tokens
-- A user's tokens, newest first. $1 user, $2 before this id, $3 how many.
SELECT id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at, parent_id
  FROM api_tokens WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;

-- name: hold_token
-- A token that is to be revoked. The next statement sees children of the transactions that this one has
-- waited for. $1 token, $2 user, $3 or anyone's. No row: there is no such token of theirs.
SELECT id FROM api_tokens WHERE id = $1 AND ($3 OR user_id = $2) FOR UPDATE;

-- name: revoke_token_and_children
-- End a token for good, and all that come from it; returns those that it ends. $1 token, held.
WITH RECURSIVE family AS (
  SELECT id FROM api_tokens WHERE id = $1
  UNION ALL
  SELECT t.id FROM family JOIN api_tokens t ON t.parent_id = family.id)
UPDATE api_tokens t SET revoked_at = now()
 WHERE t.id = ANY(ARRAY(SELECT id FROM family)) AND t.revoked_at IS NULL
RETURNING t.id;

-- name: insert_user
-- $1 name, $2 e-mail in lower case, $3 administrator. No row: the e-mail is taken.
INSERT INTO users (name, email, is_admin) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
RETURNING id, name, email, is_admin, created_at, disabled_at;

-- name: one_user
-- $1 user.
SELECT id, name, email, is_admin, created_at, disabled_at FROM users WHERE id = $1;

-- name: list_users
-- $1 before this id, $2 how many.
SELECT id, name, email, is_admin, created_at, disabled_at FROM users WHERE id < $1 ORDER BY id DESC LIMIT $2;

-- name: lock_admins
-- The administrators who can act, held until the transaction ends so that two cannot remove each other.
SELECT id FROM users WHERE is_admin AND disabled_at IS NULL ORDER BY id FOR UPDATE;

-- name: change_user
-- $1 user, $2 name, $3 administrator, $4 disabled; NULL leaves a column as it is.
UPDATE users SET name = coalesce($2, name), is_admin = coalesce($3, is_admin),
       disabled_at = CASE WHEN $4::boolean IS NULL THEN disabled_at WHEN $4 THEN coalesce(disabled_at, now())
         END
 WHERE id = $1
RETURNING id, name, email, is_admin, created_at, disabled_at;

-- name: bootstrap_lock
-- One bootstrap at a time.
SELECT pg_advisory_xact_lock(7305061);

-- name: enabled_admin
-- Whether somebody can administer this installation already.
SELECT id FROM users WHERE is_admin AND disabled_at IS NULL ORDER BY id LIMIT 1;

-- name: user_by_email
-- $1 e-mail in lower case.
SELECT id, name, email, is_admin, created_at, disabled_at FROM users WHERE email = $1;

-- name: hold_user
-- A user whose things are counted: others who count them wait until the transaction ends. $1 user.
SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE;

-- name: things_of_user
-- How much a user has of what is limited. $1 user.
SELECT (SELECT count(*) FROM pipeline_configs WHERE created_by = $1 AND deleted_at IS NULL) AS pipelines,
       (SELECT count(*) FROM api_tokens
         WHERE user_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS tokens;
