-- name: last_runs
-- The newest runs of each pipeline, newest first. $1 pipelines, $2 how many of each.
SELECT r.id, r.pipeline_config_id, r.number, r.status, r.reason, r.branch, r.sha, r.triggered_by,
       r.created_at, r.started_at, r.finished_at
  FROM unnest($1::bigint[]) AS p (id)
 CROSS JOIN LATERAL (SELECT * FROM pipeline_runs r WHERE r.pipeline_config_id = p.id AND r.expired_at IS NULL
                      ORDER BY r.id DESC LIMIT $2) AS r
 ORDER BY r.id DESC;

-- name: pipeline_repositories
-- The repositories that each pipeline names. $1 pipelines.
SELECT c.id, v.model -> 'repositories' AS repositories
  FROM pipeline_configs c JOIN pipeline_revisions v ON v.id = c.revision_id WHERE c.id = ANY($1);
