-- part: valid_session
s.ended_at IS NULL AND s.expires_at > now() AND s.used_at > now() - interval '12 hours'
  AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()) AND u.disabled_at IS NULL

-- name: insert_session
-- $1 hash, $2 token, $3 browser, $4 days that it lasts.
INSERT INTO web_sessions (hash, token_id, browser, expires_at)
VALUES ($1, $2, $3, now() + make_interval(days => $4)) RETURNING id;

-- name: session_by_hash
-- The user of a valid session; no row if it has ended, or its token or its user has. $1 hash.
SELECT s.id AS session_id, s.token_id, t.user_id, t.scopes, u.name, u.is_admin,
       s.used_at < now() - interval '1 minute' AS is_stale
  FROM web_sessions s JOIN api_tokens t ON t.id = s.token_id JOIN users u ON u.id = t.user_id
 WHERE s.hash = $1 AND :valid_session;

-- name: touch_session
-- A session was used. $1 session.
UPDATE web_sessions SET used_at = now() WHERE id = $1;

-- name: end_session
-- End a session of a user. $1 session, $2 user. No row: the user has no such session.
UPDATE web_sessions s SET ended_at = now() FROM api_tokens t
 WHERE s.id = $1 AND t.id = s.token_id AND t.user_id = $2 AND s.ended_at IS NULL RETURNING s.id;

-- name: sessions_of_user
-- The valid sessions of a user, the last used first. $1 user.
SELECT s.id, s.browser, s.created_at, s.used_at, s.expires_at, t.name AS token
  FROM web_sessions s JOIN api_tokens t ON t.id = s.token_id JOIN users u ON u.id = t.user_id
 WHERE t.user_id = $1 AND :valid_session ORDER BY s.used_at DESC, s.id DESC LIMIT 100;

-- name: insert_sign_in_link
-- $1 hash, $2 token, $3 page, $4 seconds that it works.
INSERT INTO sign_in_links (hash, token_id, path, expires_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4)) RETURNING expires_at;

-- name: take_sign_in_link
-- Use up a link. No row: it is unknown, used or too old, or its token has ended. $1 hash.
WITH taken AS (DELETE FROM sign_in_links WHERE hash = $1 RETURNING token_id, path, expires_at)
SELECT taken.token_id, taken.path, t.user_id FROM taken JOIN api_tokens t ON t.id = taken.token_id
  JOIN users u ON u.id = t.user_id
 WHERE taken.expires_at > now() AND t.revoked_at IS NULL
   AND (t.expires_at IS NULL OR t.expires_at > now()) AND u.disabled_at IS NULL;

-- name: forget_sessions
-- Delete sessions that ended or expired a day ago. $1 how many at most.
DELETE FROM web_sessions WHERE id IN (
  SELECT id FROM web_sessions WHERE expires_at < now() - interval '1 day' ORDER BY expires_at LIMIT $1);

-- name: forget_sign_in_links
-- Delete links that no longer work. $1 how many at most.
DELETE FROM sign_in_links WHERE hash IN (
  SELECT hash FROM sign_in_links WHERE expires_at < now() ORDER BY expires_at LIMIT $1);
