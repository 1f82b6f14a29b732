-- name: run_streams
-- The log streams of a run in the order of its jobs. $1 run.
SELECT s.id, j.name AS job, a.number AS attempt, s.container, s.next_line, s.stored_bytes, s.sealed_at IS NOT NULL AS is_sealed, a.creation_token
  FROM log_streams s JOIN attempts a ON a.id = s.attempt_id JOIN jobs j ON j.id = a.job_id
 WHERE s.run_id = $1
 ORDER BY j.position, j.id, a.number, array_position(a.containers, s.container), s.id;

-- name: run_log_state
-- The run's status, and whether every container that was to be logged is sealed. $1 run.
SELECT r.status, r.reason,
       NOT EXISTS (SELECT FROM jobs j JOIN attempts a ON a.job_id = j.id
                    WHERE j.run_id = r.id AND (a.claimed_at IS NOT NULL OR a.status <> 'finished')
                      AND (a.status <> 'finished' OR cardinality(a.containers) >
                           (SELECT count(*) FROM log_streams s WHERE s.attempt_id = a.id AND s.sealed_at IS NOT NULL))) AS is_sealed
  FROM pipeline_runs r WHERE r.id = $1;

-- name: segments_from
-- Segments of a stream, beginning with the one that holds a line. $1 stream, $2 line, $3 how many.
SELECT seq, first_line, line_count, raw_bytes, data FROM log_segments
 WHERE stream_id = $1
   AND first_line >= coalesce((SELECT max(first_line) FROM log_segments WHERE stream_id = $1 AND first_line <= $2), 0)
 ORDER BY first_line LIMIT $3;
