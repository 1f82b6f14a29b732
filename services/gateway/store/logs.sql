-- name: run_streams
-- The log streams of a run in the order of its jobs. $1 run.
SELECT s.id, coalesce(j.key, j.name) AS job, a.number AS attempt, s.container, s.next_line, s.stored_bytes,
  s.sealed_at IS NOT NULL AS is_sealed, a.creation_token
  FROM log_streams s JOIN attempts a ON a.id = s.attempt_id JOIN jobs j ON j.id = a.job_id
 WHERE s.run_id = $1
 ORDER BY j.position, j.id, a.number, array_position(a.containers, s.container), s.id;

-- name: run_log_state
-- The run's status, and whether every container that was to be logged is sealed. $1 run.
SELECT r.status, r.reason,
       NOT EXISTS (SELECT FROM jobs j JOIN attempts a ON a.job_id = j.id
                    WHERE j.run_id = r.id AND (a.claimed_at IS NOT NULL OR a.status <> 'finished')
                      AND (a.status <> 'finished' OR cardinality(a.containers) >
                           (SELECT count(*) FROM log_streams s WHERE s.attempt_id = a.id
                                  AND s.sealed_at IS NOT NULL))) AS is_sealed
  FROM pipeline_runs r WHERE r.id = $1;

-- name: run_log_gaps
-- The places in the logs of a run where lines may be missing, in the order of its jobs. $1 run, $2 how many.
SELECT coalesce(j.key, j.name) AS job, a.number AS attempt, s.container, gap.line, gap.reason
  FROM log_streams s JOIN attempts a ON a.id = s.attempt_id JOIN jobs j ON j.id = a.job_id,
       jsonb_to_recordset(s.gaps) AS gap (line bigint, reason text)
 WHERE s.run_id = $1
 ORDER BY j.position, j.id, a.number, array_position(a.containers, s.container), s.id, gap.line
 LIMIT $2;

-- name: segments_from
-- Segments of a stream, beginning with the one that holds a line. $1 stream, $2 line, $3 how many.
SELECT seq, first_line, line_count, raw_bytes, data FROM log_segments
 WHERE stream_id = $1
   AND first_line >= coalesce((SELECT max(first_line) FROM log_segments WHERE stream_id = $1
          AND first_line <= $2), 0)
 ORDER BY first_line LIMIT $3;

-- name: viewers_allowed
-- Which of these (token, run) may still be shown: the token is valid, and its user may see the run, as in
-- `one_run`.
-- $1 tokens, $2 runs (two columns of one table).
SELECT DISTINCT asked.token_id, asked.run_id
  FROM unnest($1::bigint[], $2::bigint[]) AS asked (token_id, run_id)
  JOIN api_tokens t ON t.id = asked.token_id
   AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
  JOIN users u ON u.id = t.user_id AND u.disabled_at IS NULL
  JOIN pipeline_runs r ON r.id = asked.run_id AND r.expired_at IS NULL
  JOIN pipeline_configs p ON p.id = r.pipeline_config_id
 WHERE (u.is_admin AND 'admin' = ANY(t.scopes)) OR p.created_by = u.id
    OR EXISTS (SELECT FROM grants g WHERE g.repository_id = r.repository_id AND g.user_id = u.id);
