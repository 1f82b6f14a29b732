"""SQL statements of the checks. They read the database directly, not through a service."""

UNFINISHED = """\
SELECT (SELECT count(*) FROM pipeline_runs WHERE status IN ('pending', 'running'))
     + (SELECT count(*) FROM deliveries d
         WHERE NOT EXISTS (SELECT FROM delivery_outcomes o WHERE o.delivery_id = d.id))
     + (SELECT count(*) FROM commands c
         WHERE NOT EXISTS (SELECT FROM command_effects e WHERE e.command_id = c.id))
     + (SELECT count(*) FROM jobs WHERE admitted_at IS NOT NULL AND slot_freed_at IS NULL)
     + (SELECT count(*) FROM attempts
         WHERE cardinality(containers) > (SELECT count(*) FROM log_streams s
                                         WHERE s.attempt_id = attempts.id AND s.sealed_at IS NOT NULL))
     + (SELECT count(*) FROM attempts WHERE removed_at IS NULL)
     + (SELECT count(*) FROM outbox WHERE sent_at IS NULL)"""

LEFT_OVER = """\
SELECT 'deliveries are not decided' AS what, count(*) FROM deliveries d
         WHERE NOT EXISTS (SELECT FROM delivery_outcomes o WHERE o.delivery_id = d.id)
UNION ALL SELECT 'commands have no effect', count(*) FROM commands c
         WHERE NOT EXISTS (SELECT FROM command_effects e WHERE e.command_id = c.id)
UNION ALL SELECT 'slots are not freed', count(*) FROM jobs
         WHERE admitted_at IS NOT NULL AND slot_freed_at IS NULL
UNION ALL SELECT 'attempts are not finished', count(*) FROM attempts WHERE status <> 'finished'
UNION ALL SELECT 'attempts have logs that are not sealed', count(*) FROM attempts
         WHERE cardinality(containers) > (SELECT count(*) FROM log_streams s
                                         WHERE s.attempt_id = attempts.id AND s.sealed_at IS NOT NULL)
UNION ALL SELECT 'attempts are not removed from the cluster', count(*) FROM attempts WHERE removed_at IS NULL
UNION ALL SELECT 'messages are not sent', count(*) FROM outbox WHERE sent_at IS NULL"""

RUNS = """\
SELECT r.id, r.sha, r.rerun, r.retry_of, r.status::text, r.reason::text, r.finished_at,
       (SELECT string_agg(j.message, ' ' ORDER BY j.id) FROM jobs j WHERE j.run_id = r.id) AS message,
       ARRAY(SELECT j.name FROM jobs j JOIN attempts a ON a.job_id = j.id
              WHERE j.run_id = r.id AND j.status IN ('success', 'failed') AND j.carried_from IS NULL) AS ran,
       (SELECT coalesce(sum(jsonb_array_length(s.gaps)), 0) FROM log_streams s WHERE s.run_id = r.id) AS gaps
  FROM pipeline_runs r ORDER BY r.id"""

TRANSITIONS = """\
SELECT coalesce('job ' || job_id, 'run ' || run_id) AS what, false AS is_attempt,
       from_status::text, to_status::text, id
  FROM transitions
UNION ALL SELECT 'attempt ' || attempt_id, true, from_status::text, to_status::text, id
  FROM attempt_transitions
 ORDER BY is_attempt, id"""
