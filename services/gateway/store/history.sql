-- name: clusters
-- All clusters.
SELECT name, labels, registered_at, seen_at FROM clusters ORDER BY name;

-- name: list_events
-- Events of repositories granted to a user. $1 user, $2 administrator, $3 before this id, $4 how many, $5
-- kind, $6 repositories, $7 branch, $8 sha, $9 pull request, $10 received after, $11 received before.
SELECT e.id, e.kind, e.action, e.repository_id, e.repository, e.ref, e.branch, e.tag, e.sha, e.before_sha,
  e.base_branch, e.pull_request, e.title, e.message, e.sender_login,
       e.trusted, e.deleted, e.forced, e.happened_at, e.received_at, e.created_at, d.delivery_id,
       d.source, e.inputs,
       CASE WHEN q.event_id IS NOT NULL AND q.decided_at IS NULL THEN 'ref' END AS waiting_for
  FROM events e LEFT JOIN deliveries d ON d.id = e.delivery_id
  LEFT JOIN ref_requests q ON q.event_id = e.id
 WHERE ($2 OR e.repository_id IN (SELECT repository_id FROM grants WHERE user_id = $1)) AND e.id < $3
   AND ($5::event_kind IS NULL OR e.kind = $5) AND ($6::bigint[] IS NULL OR e.repository_id = ANY($6))
     AND ($7::text IS NULL OR e.branch = $7)
   AND ($8::text IS NULL OR e.sha = $8) AND ($9::bigint IS NULL OR e.pull_request = $9)
   AND ($10::timestamptz IS NULL OR e.received_at >= $10)
     AND ($11::timestamptz IS NULL OR e.received_at < $11)
 ORDER BY e.id DESC LIMIT $4;

-- name: one_event
-- An event where the user may see it. $1 event, $2 user, $3 administrator.
SELECT e.id, e.kind, e.action, e.repository_id, e.repository, e.ref, e.branch, e.tag, e.sha, e.before_sha,
  e.base_branch, e.pull_request, e.title, e.message, e.sender_login,
       e.trusted, e.deleted, e.forced, e.happened_at, e.received_at, e.created_at, d.delivery_id,
       d.source, e.inputs, e.changed_files, e.files_unknown,
       CASE WHEN q.event_id IS NOT NULL AND q.decided_at IS NULL THEN 'ref' END AS waiting_for
  FROM events e LEFT JOIN deliveries d ON d.id = e.delivery_id
  LEFT JOIN ref_requests q ON q.event_id = e.id
 WHERE e.id = $1 AND ($3 OR e.repository_id IN (SELECT repository_id FROM grants WHERE user_id = $2));

-- name: event_decisions
-- What was decided for an event, for the user's own pipelines. $1 event, $2 user, $3 administrator.
SELECT c.id, c.pipeline_config_id, p.name AS pipeline, c.revision_id, v.number AS revision, c.outcome,
  c.reasons, c.run_id, c.decided_at
  FROM decisions c JOIN pipeline_configs p ON p.id = c.pipeline_config_id
    JOIN pipeline_revisions v ON v.id = c.revision_id
 WHERE c.event_id = $1 AND ($3 OR p.created_by = $2)
 ORDER BY c.id LIMIT 1000;
