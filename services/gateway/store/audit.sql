-- name: list_audit
-- The newest entries of the audit log. $1 before this id, $2 how many, $3 user, $4 action, or what stands
-- before its dot, $5 object, $6 not before, $7 before.
SELECT a.id, a.at, a.user_id, u.name AS "user", a.action, a.object, a.details, a.token_id, a.address,
  a.traceparent
  FROM audit_log a LEFT JOIN users u ON u.id = a.user_id
 WHERE a.id < $1 AND ($3::bigint IS NULL OR a.user_id = $3)
   AND ($4::text IS NULL OR a.action = $4 OR split_part(a.action, '.', 1) = $4)
   AND ($5::text IS NULL OR a.object = $5)
   AND ($6::timestamptz IS NULL OR a.at >= $6) AND ($7::timestamptz IS NULL OR a.at < $7)
 ORDER BY a.id DESC LIMIT $2;
