-- name: installation
-- The name of this installation.
SELECT name FROM installation;

-- name: register_cluster
-- Register a cluster with its labels, and note that an executor serves it. $1 name, $2 labels.
INSERT INTO clusters (name, labels) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, seen_at = now();

-- name: clusters
-- All registered clusters.
SELECT name, labels FROM clusters;

-- name: insert_attempts
-- Make the attempts that admitted jobs want, once. Where a stop was asked for already the attempt is over
-- before it began. $1 cluster, $2 job ids, $3 numbers, $4 creation tokens, $5 the warning of an
-- untrusted attempt without its secrets. Returns those that were over at once. An attempt gets the newest
-- versions of the secrets that its job lists: a repository's secret precedes the installation's.
WITH wanted AS (
  SELECT j.id AS job_id, w.number, w.token, j.cancel_requested_at IS NOT NULL AS over,
    coalesce(j.cancel_reason, 'cancelled_by_user') AS cancel_reason, r.traceparent,
    coalesce(j.definition -> 'secrets', '[]') <> '[]' AS has_secrets, e.trusted,
    ARRAY(SELECT DISTINCT ON (s.name) s.version_id FROM secrets s
           WHERE e.trusted
             AND s.name = ANY(ARRAY(SELECT jsonb_array_elements_text(j.definition -> 'secrets')))
             AND coalesce(s.repository_id, 0) IN (0, j.repository_id)
             AND (s.repository_id = j.repository_id OR j.repository_id = ANY(s.allowed_repositories))
             AND s.deleted_at IS NULL AND s.version_id IS NOT NULL
           ORDER BY s.name, s.repository_id NULLS LAST) AS secret_versions
    FROM unnest($2::bigint[], $3::integer[], $4::text[]) AS w (job_id, number, token)
    JOIN jobs j ON j.id = w.job_id AND j.wanted_attempt = w.number AND j.cluster = $1
      AND j.admitted_at IS NOT NULL
    JOIN pipeline_runs r ON r.id = j.run_id
    JOIN events e ON e.id = r.event_id
   ORDER BY j.id),
made AS (
  INSERT INTO attempts (job_id, number, cluster, creation_token, status, outcome, reason, message,
         cancel_requested_at, finished_at, traceparent, secret_versions, warnings)
  SELECT job_id, number, $1, token,
         CASE WHEN over THEN 'finished' ELSE 'creating' END::attempt_status,
         CASE WHEN over THEN CASE cancel_reason WHEN 'timed_out' THEN 'failed' ELSE 'cancelled' END::status
           END,
         CASE WHEN over THEN cancel_reason END,
         CASE WHEN over THEN 'Stopped by request before it started.' END,
         CASE WHEN over THEN now() END,
         CASE WHEN over THEN now() END,
         traceparent,
         CASE WHEN has_secrets THEN secret_versions END,
         CASE WHEN has_secrets AND NOT trusted THEN ARRAY[$5::text] ELSE '{}' END
    FROM wanted
      ON CONFLICT (job_id, number) DO NOTHING
  RETURNING id, status, reason, traceparent),
noted AS (INSERT INTO attempt_transitions (attempt_id, to_status, reason) SELECT id, status, reason FROM made)
SELECT id, traceparent FROM made WHERE status = 'finished';

-- name: to_start
-- All that is needed to start attempts that are under way. $1 cluster, $2 job ids, $3 numbers.
SELECT a.id, a.status, a.creation_token, a.pod_uid, a.number, a.job_id, j.run_id,
  coalesce(j.key, j.name) AS job_key, j.definition, a.traceparent,
       coalesce(cardinality(a.secret_versions) > 0, false) AS has_secrets,
       r.number AS run_number, r.timeout_seconds, c.name AS pipeline_name, p.id AS repository_id, p.clone_url,
         p.clone_token,
       r.timeout_seconds - coalesce(extract(epoch FROM now() - r.started_at), 0)::float8 AS run_seconds_left,
       e.kind, e.repository, e.trusted, e.action, e.ref, e.branch, e.tag, e.sha, e.before_sha, e.base_branch,
         e.pull_request, e.merge_sha,
       e.title, e.message, e.sender_login, e.sender_id, e.deleted, e.forced, e.happened_at,
       b.id AS before_id, b.pod_uid AS before_pod_uid,
         extract(epoch FROM now() - b.claimed_at)::float8 AS before_claimed_seconds
  FROM unnest($2::bigint[], $3::integer[]) AS w (job_id, number)
  JOIN attempts a ON a.job_id = w.job_id AND a.number = w.number AND a.cluster = $1 AND a.status <> 'finished'
  JOIN jobs j ON j.id = a.job_id
  JOIN pipeline_runs r ON r.id = j.run_id
  JOIN pipeline_configs c ON c.id = r.pipeline_config_id
  JOIN events e ON e.id = r.event_id
  JOIN repositories p ON p.id = j.repository_id
  LEFT JOIN attempts b ON b.job_id = a.job_id AND b.number = a.number - 1 AND b.cluster = a.cluster
    AND b.pod_uid IS NOT NULL AND b.removed_at IS NULL
 ORDER BY a.id;

-- name: pinned_secrets
-- The versions of secrets that attempts get, where they get any. $1 attempts.
SELECT a.id AS attempt_id, s.name, v.id AS version_id, v.value
  FROM attempts a JOIN secret_versions v ON v.id = ANY(a.secret_versions) JOIN secrets s ON s.id = v.secret_id
 WHERE a.id = ANY($1::bigint[]) AND a.secret_versions <> '{}'
 ORDER BY a.id, s.name;

-- name: claim_attempts
-- Let one pod of each attempt run user code, at most once; nobody whose stop was asked for. $1 attempts, $2
-- object uids, $3 pod uids, $4 log locations, $5 containers, separated by commas, $6 warnings, separated by
-- line feeds. An attempt not returned: another pod has it, or it is over.
WITH asked AS (
  SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
           AS w (id, object_uid, pod_uid, log_location, containers, warnings)),
held AS (
  SELECT a.id, a.status FROM attempts a JOIN jobs j ON j.id = a.job_id
   WHERE a.id = ANY($1::bigint[]) AND j.cancel_requested_at IS NULL
   ORDER BY a.id FOR UPDATE OF a),
claimed AS (
  UPDATE attempts a
     SET status = 'claimed', pod_uid = w.pod_uid, object_uid = w.object_uid, log_location = w.log_location,
         containers = string_to_array(w.containers, ','),
         warnings = a.warnings || ARRAY(SELECT line FROM unnest(string_to_array(w.warnings, E'\n')) AS line
                                         WHERE line <> ALL(a.warnings)),
           claimed_at = coalesce(a.claimed_at, now()), waiting_for = NULL, message = NULL
    FROM asked w JOIN held h ON h.id = w.id
   WHERE a.id = w.id AND a.status IN ('creating', 'created', 'claimed')
     AND coalesce(a.pod_uid, w.pod_uid) = w.pod_uid AND a.cancel_requested_at IS NULL
  RETURNING a.id, a.traceparent, h.status AS from_status),
noted AS (INSERT INTO attempt_transitions (attempt_id, from_status, to_status) SELECT id, from_status,
       'claimed' FROM claimed WHERE from_status <> 'claimed')
SELECT id, traceparent FROM claimed;

-- name: finish_attempts
-- Store verdicts: the one last transition of each attempt, for the pod that was judged (NULL: before a
-- claim). $1 attempts, $2 pod uids, $3 outcomes, $4 reasons, $5 messages, $6 exit codes, $7 when user code
-- began, $8 one array with the steps of each, $9 one with the outputs, $10 warnings to add. An
-- attempt not returned has its verdict, or its claim changed since.
WITH judged AS (
  SELECT v.*, $8::jsonb -> (v.place - 1)::integer AS steps, $9::jsonb -> (v.place - 1)::integer AS outputs
    FROM unnest($1::bigint[], $2::text[], $3::status[], $4::reason[], $5::text[], $6::integer[],
           $7::timestamptz[], $10::text[])
         WITH ORDINALITY AS v (id, pod_uid, outcome, reason, message, exit_code, started_at, warning, place)),
held AS (SELECT id, status FROM attempts WHERE id = ANY($1::bigint[]) AND status <> 'finished'
       ORDER BY id FOR UPDATE),
finished AS (
  UPDATE attempts a
     SET status = 'finished', outcome = v.outcome, reason = v.reason, message = v.message,
       exit_code = v.exit_code, steps = v.steps, outputs = v.outputs,
         started_at = v.started_at, finished_at = now(), waiting_for = NULL,
         warnings = a.warnings || array_remove(ARRAY[v.warning], NULL)
    FROM judged v JOIN held h ON h.id = v.id
   WHERE a.id = v.id AND a.status <> 'finished' AND a.pod_uid IS NOT DISTINCT FROM v.pod_uid
  RETURNING a.id, a.traceparent, h.status AS from_status, a.reason),
noted AS (INSERT INTO attempt_transitions (attempt_id, from_status, to_status, reason) SELECT id, from_status,
       'finished', reason FROM finished)
SELECT id, traceparent FROM finished;

-- name: request_stops
-- Note that attempts are to stop, so that no claim wins any more. $1 cluster, $2 job ids, $3 numbers. Returns
-- those under way.
UPDATE attempts a SET cancel_requested_at = coalesce(a.cancel_requested_at, now())
  FROM (SELECT a.id, coalesce(j.cancel_reason, 'cancelled_by_user') AS cancel_reason
          FROM unnest($2::bigint[], $3::integer[]) AS w (job_id, number)
          JOIN attempts a ON a.job_id = w.job_id AND a.number = w.number AND a.cluster = $1
            AND a.status <> 'finished'
          JOIN jobs j ON j.id = a.job_id AND j.cancel_requested_at IS NOT NULL
         ORDER BY a.id FOR UPDATE OF a) held
 WHERE a.id = held.id
RETURNING a.id, a.pod_uid, a.traceparent, held.cancel_reason;

-- name: note_created
-- All that these attempts need is in the cluster, but for a pod. $1 attempts, $2 object uids.
WITH made AS (
  UPDATE attempts a SET status = 'created', object_uid = w.object_uid
    FROM (SELECT a.id, w.object_uid FROM unnest($1::bigint[], $2::text[]) AS w (id, object_uid)
           JOIN attempts a ON a.id = w.id
           WHERE a.status IN ('creating', 'created') ORDER BY a.id FOR UPDATE OF a) w
   WHERE a.id = w.id AND (a.status = 'creating' OR a.object_uid IS DISTINCT FROM w.object_uid)
  RETURNING a.id)
INSERT INTO attempt_transitions (attempt_id, from_status, to_status) SELECT id, 'creating', 'created'
  FROM made;

-- name: note_waiting
-- What attempts wait for before their user code begins, where that has changed. $1 attempts, $2 what, $3 in
-- the cluster's words.
UPDATE attempts a SET waiting_for = w.waiting_for, message = w.message
  FROM (SELECT a.id, w.waiting_for, w.message
          FROM unnest($1::bigint[], $2::waiting_for[], $3::text[]) AS w (id, waiting_for, message)
          JOIN attempts a ON a.id = w.id
         WHERE a.status <> 'finished'
           AND (a.waiting_for, a.message) IS DISTINCT FROM (w.waiting_for, w.message)
         ORDER BY a.id FOR UPDATE OF a) w
 WHERE a.id = w.id;

-- name: under_way
-- Attempts without a verdict; of those that are not claimed, none whose stop was asked for. $1 cluster, $2
-- attempts.
SELECT a.id, a.status, a.pod_uid, a.waiting_for, a.message, a.traceparent,
       extract(epoch FROM now() - a.claimed_at)::float8 AS claimed_seconds,
       j.definition, r.timeout_seconds,
       CASE WHEN j.cancel_requested_at IS NOT NULL THEN coalesce(j.cancel_reason, 'cancelled_by_user')
       END AS stop_reason
  FROM attempts a JOIN jobs j ON j.id = a.job_id JOIN pipeline_runs r ON r.id = j.run_id
 WHERE a.cluster = $1 AND a.id = ANY($2::bigint[]) AND a.status <> 'finished'
   AND (a.pod_uid IS NOT NULL OR a.cancel_requested_at IS NULL)
 ORDER BY a.id;

-- name: admitted_without_attempt
-- Jobs whose attempt nobody has made. $1 cluster, $2 for so many seconds at least, $3 at most.
SELECT j.id AS job_id, j.wanted_attempt AS number FROM jobs j
 WHERE j.admitted_at < now() - make_interval(secs => $2) AND j.slot_freed_at IS NULL AND j.cluster = $1
   AND j.wanted_attempt IS NOT NULL
   AND j.status IN ('pending', 'running')
   AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.number = j.wanted_attempt)
 ORDER BY j.id LIMIT $3;

-- name: not_created
-- Attempts whose objects may not be complete. $1 cluster, $2 for so many seconds at least, $3 at most.
SELECT a.job_id, a.number FROM attempts a
 WHERE a.cluster = $1 AND a.status = 'creating' AND a.created_at < now() - make_interval(secs => $2)
   AND a.cancel_requested_at IS NULL
 ORDER BY a.id LIMIT $3;

-- name: created_attempts
-- Attempts whose objects are complete and that are not claimed. $1 cluster, $2 for so many seconds at least,
-- $3 at most.
SELECT a.id, a.job_id, a.number FROM attempts a
 WHERE a.cluster = $1 AND a.status = 'created' AND a.created_at < now() - make_interval(secs => $2)
   AND a.cancel_requested_at IS NULL
 ORDER BY a.id LIMIT $3;

-- name: overdue_starts
-- Attempts that should have been claimed long ago. $1 cluster, $2 for so many seconds at least.
SELECT a.id, a.waiting_for, a.message, extract(epoch FROM now() - a.created_at)::float8 AS seconds
  FROM attempts a
 WHERE a.cluster = $1 AND a.status IN ('creating', 'created')
   AND a.created_at < now() - make_interval(secs => $2)
 ORDER BY a.id LIMIT 200;

-- name: overdue_runs
-- Claimed attempts whose job may have run longer than its limit, and when it must have begun for that. $1
-- cluster, $2 the grace period in seconds of jobs without their own.
SELECT a.id, a.pod_uid, over_since
  FROM attempts a JOIN jobs j ON j.id = a.job_id,
       LATERAL (SELECT now() - make_interval(secs =>
                  coalesce((j.definition ->> 'stop_grace_seconds')::float8, $2)
                  + (j.definition ->> 'timeout_seconds')::float8) AS over_since) l
 WHERE a.cluster = $1 AND a.status = 'claimed' AND a.claimed_at < over_since
 ORDER BY a.id LIMIT 200;

-- name: claimed_attempts
-- Attempts whose pod may run, with the pod. $1 cluster, $2 for so many seconds at least.
SELECT a.id, a.pod_uid FROM attempts a
 WHERE a.cluster = $1 AND a.status = 'claimed'
   AND a.claimed_at < now() - make_interval(secs => $2)
 ORDER BY a.id;

-- name: stops_wanted
-- Attempts under way whose stop was asked for. $1 cluster, $2 for so many seconds at least.
SELECT a.job_id, a.number FROM attempts a JOIN jobs j ON j.id = a.job_id
 WHERE a.cluster = $1 AND a.status <> 'finished' AND j.cancel_requested_at < now() - make_interval(secs => $2)
 ORDER BY a.id;

-- name: removable
-- Finished attempts whose logs, where they have any, are all sealed. $1 cluster, $2 attempts (NULL: all).
SELECT a.id FROM attempts a
 WHERE a.cluster = $1 AND a.status = 'finished' AND a.removed_at IS NULL
   AND ($2::bigint[] IS NULL OR a.id = ANY($2::bigint[]))
   AND cardinality(a.containers) <= (SELECT count(*) FROM log_streams s WHERE s.attempt_id = a.id
          AND s.sealed_at IS NOT NULL)
 ORDER BY a.id LIMIT 1000;

-- name: mark_removed
-- Nothing of these is left in the cluster. $1 attempts.
UPDATE attempts SET removed_at = now() WHERE id = ANY($1::bigint[]) AND removed_at IS NULL;

-- name: wanted_attempts
-- Which of these attempts, of any cluster, still need their objects. $1 attempts.
SELECT a.id FROM attempts a
 WHERE a.id = ANY($1::bigint[])
   AND (a.status <> 'finished'
        OR cardinality(a.containers) > (SELECT count(*) FROM log_streams s WHERE s.attempt_id = a.id
               AND s.sealed_at IS NOT NULL));

-- name: ref_requests
-- Requests for refs that have no answer, with what is needed to ask. $1 cluster, $2 events.
SELECT q.event_id, q.ref, q.sha, extract(epoch FROM now() - q.created_at)::float8 AS age_seconds,
       r.id AS repository_id, r.clone_url, r.clone_token, c.traceparent
  FROM ref_requests q JOIN events e ON e.id = q.event_id JOIN repositories r ON r.id = e.repository_id
  LEFT JOIN commands c ON c.id = e.command_id
 WHERE q.cluster = $1 AND q.event_id = ANY($2::bigint[]) AND q.decided_at IS NULL
   AND NOT EXISTS (SELECT FROM ref_resolutions a WHERE a.event_id = q.event_id)
 ORDER BY q.event_id;

-- name: refs_not_resolved
-- $1 cluster, $2 older than so many seconds, $3 at most.
SELECT q.event_id FROM ref_requests q
 WHERE q.cluster = $1 AND q.decided_at IS NULL AND q.created_at < now() - make_interval(secs => $2)
   AND NOT EXISTS (SELECT FROM ref_resolutions a WHERE a.event_id = q.event_id)
 ORDER BY q.event_id LIMIT $3;

-- name: insert_resolution
-- The answer of a repository's server; the first counts. $1 event, $2 outcome, $3 commit, $4 message.
INSERT INTO ref_resolutions (event_id, outcome, sha, message) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING;
