-- name: insert_audit
-- Note what somebody did. $1 user (none: a forge), $2 action, $3 object, $4 details.
INSERT INTO audit_log (user_id, action, object, details) VALUES ($1, $2, $3, $4);

-- name: token_by_hash
-- Who a token speaks for; no row when it is unknown, expired, revoked, or its user disabled. $1 hash.
SELECT t.id AS token_id, t.user_id, t.scopes, u.name, u.is_admin, t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute' AS is_stale
  FROM api_tokens t JOIN users u ON u.id = t.user_id
 WHERE t.hash = $1 AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND u.disabled_at IS NULL;

-- name: touch_token
-- A token was used; noted at most once a minute. $1 token.
UPDATE api_tokens SET last_used_at = now() WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: insert_token
-- $1 user, $2 name, $3 prefix, $4 hash, $5 scopes, $6 expires_at.
INSERT INTO api_tokens (user_id, name, prefix, hash, scopes, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at;

-- name: list_tokens
-- A user's tokens, newest first. $1 user, $2 before this id, $3 how many.
SELECT id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at
  FROM api_tokens WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;

-- name: revoke_token
-- End a token for good. $1 token, $2 user, $3 or anyone's. No row: there is no such token of theirs.
UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 AND ($3 OR user_id = $2) RETURNING id;

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
       disabled_at = CASE WHEN $4::boolean IS NULL THEN disabled_at WHEN $4 THEN coalesce(disabled_at, now()) END
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
