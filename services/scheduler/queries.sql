-- ---------------------------------------------------------------- deliveries

-- part: to_be_decided
(o.delivery_id IS NULL OR (o.outcome IN ('unknown_repository', 'repository_mismatch')
       AND d.redelivered_at > o.decided_at))

-- name: deliveries
-- The first of these deliveries, as many as have 32 MiB of (compressed) bodies between them. Open ones are
-- those that nobody has decided, or that came again after they were about no registered repository; the
-- others come without body. $1 ids.
SELECT id, source, event_type, headers, hook_key, received_at, traceparent, body, outcome, is_open
  FROM (SELECT d.id, d.source, d.event_type, d.headers, d.hook_key, d.received_at, d.traceparent, o.outcome,
               open.is_open,
               CASE WHEN open.is_open THEN d.body END AS body,
               sum(CASE WHEN open.is_open THEN octet_length(d.body) ELSE 0 END) OVER (ORDER BY d.id)
               - coalesce(octet_length(d.body), 0) AS before
          FROM deliveries d LEFT JOIN delivery_outcomes o ON o.delivery_id = d.id
         CROSS JOIN LATERAL (SELECT coalesce(:to_be_decided, false) AS is_open) AS open
         WHERE d.id = ANY($1::bigint[])) AS asked
 WHERE coalesce(before, 0) < 33554432
 ORDER BY id;

-- name: undecided_deliveries
-- Deliveries that nobody has decided, taken so that no other replica's look takes them too. $1 above this id,
-- $2 older than so many seconds, $3 at most.
SELECT d.id FROM deliveries d
 WHERE d.id > $1 AND d.created_at < now() - make_interval(secs => $2)
   AND NOT EXISTS (SELECT FROM delivery_outcomes o WHERE o.delivery_id = d.id)
 ORDER BY d.id LIMIT $3
   FOR NO KEY UPDATE OF d SKIP LOCKED;

-- name: redelivered_deliveries
-- Deliveries that came again and are to be decided again, locked against other replicas' checks.
-- $1 marked more than so many seconds ago, $2 at most.
SELECT d.id FROM deliveries d JOIN delivery_outcomes o ON o.delivery_id = d.id
 WHERE d.redelivered_at < now() - make_interval(secs => $1) AND :to_be_decided
 ORDER BY d.id LIMIT $2
   FOR NO KEY UPDATE OF d SKIP LOCKED;

-- name: decided_up_to
-- The greatest id below which every delivery has been decided. Only rows older than two minutes count: others
-- may still commit below younger ones. $1 known to be decided up to here.
SELECT CASE WHEN old.greatest IS NULL THEN $1::bigint ELSE least(old.greatest, undecided.before) END
  FROM (SELECT max(d.id) AS greatest FROM deliveries d WHERE d.id > $1
         AND d.created_at < now() - interval '2 minutes') AS old,
       (SELECT min(d.id) - 1 AS before FROM deliveries d WHERE d.id > $1
              AND NOT EXISTS (SELECT FROM delivery_outcomes o WHERE o.delivery_id = d.id)) AS undecided;

-- name: repositories
-- Registered repositories that deliveries may mean: by forge id (registered or learned), by name (registered
-- or current), by hook key. An id that is registered for one repository is not learned for another. $1
-- forges, $2 forge ids, $3 full names (three columns of one table), $4 hook keys.
WITH named AS (SELECT DISTINCT forge, forge_id, lower(name) AS name
       FROM unnest($1::text[], $2::bigint[], $3::text[]) AS asked (forge, forge_id, name)),
     found AS (
  SELECT r.id FROM named n JOIN repositories r ON r.forge = n.forge AND r.forge_id = n.forge_id
    AND r.deleted_at IS NULL
  UNION SELECT i.repository_id FROM named n JOIN repository_identities i ON i.forge = n.forge
    AND i.forge_id = n.forge_id
  UNION SELECT r.id FROM named n JOIN repositories r ON r.forge = n.forge AND lower(r.full_name) = n.name
    AND r.deleted_at IS NULL
  UNION SELECT i.repository_id FROM named n JOIN repository_identities i ON i.forge = n.forge
    AND lower(i.full_name) = n.name
  UNION SELECT r.id FROM repositories r WHERE r.hook_key = ANY($4::text[]))
SELECT r.id, r.forge, r.full_name, r.hook_key, i.full_name AS current_name,
       coalesce(r.forge_id, i.forge_id) AS forge_id,
       coalesce(r.hook_target_type, i.hook_target_type) AS hook_target_type,
         i.repository_id IS NOT NULL AS learned,
       r.forge_id IS NOT NULL AS is_registered_id, coalesce(i.by_own_hook, false) AS by_own_hook
  FROM found f JOIN repositories r ON r.id = f.id
  LEFT JOIN repository_identities i
    ON i.repository_id = r.id AND coalesce(r.forge_id = i.forge_id, true)
   AND NOT EXISTS (SELECT FROM repositories other
                    WHERE other.forge = i.forge AND other.forge_id = i.forge_id
                      AND other.id <> i.repository_id AND other.deleted_at IS NULL)
 WHERE r.deleted_at IS NULL
 ORDER BY r.id;

-- name: forget_identities
-- What no longer counts if a repository is to take a forge id: this one's former id, if another one is
-- registered for it or that id is registered for another repository (else another replica has just learned
-- it, and it stays); and of another repository the same id, if that is deleted, was taught by its own hook,
-- or if the id is registered for this one. $1 as for learn_identities.
DELETE FROM repository_identities i
 USING repositories r, repositories taught,
       jsonb_to_recordset($1::jsonb) AS new (
       repository_id bigint, forge text, forge_id bigint, by_own_hook boolean)
 WHERE r.id = i.repository_id AND taught.id = new.repository_id
   AND ((i.repository_id = new.repository_id AND i.forge_id <> new.forge_id
         AND (coalesce(r.forge_id <> i.forge_id, false)
              OR EXISTS (SELECT FROM repositories other
                          WHERE other.forge = i.forge AND other.forge_id = i.forge_id
                            AND other.id <> i.repository_id AND other.deleted_at IS NULL)))
        OR (i.repository_id <> new.repository_id
            AND i.forge = new.forge AND i.forge_id = new.forge_id
            AND (r.deleted_at IS NOT NULL OR (i.by_own_hook AND NOT new.by_own_hook)
                 OR coalesce(taught.forge_id = new.forge_id, false))));

-- name: learn_identities
-- What a verified delivery teaches about a repository of which nothing is known yet; the first teaches. An id
-- that is registered for another repository is not learned.
-- $1 [{repository_id, forge, forge_id, full_name, hook_target_type, by_own_hook}]
INSERT INTO repository_identities (repository_id, forge, forge_id, full_name, hook_target_type, by_own_hook)
SELECT repository_id, forge, forge_id, full_name, hook_target_type, by_own_hook
  FROM jsonb_to_recordset($1::jsonb) AS new (
       repository_id bigint, forge text, forge_id bigint, full_name text, hook_target_type text,
       by_own_hook boolean)
 WHERE NOT EXISTS (SELECT FROM repositories other
                    WHERE other.forge = new.forge AND other.forge_id = new.forge_id
                      AND other.id <> new.repository_id AND other.deleted_at IS NULL)
 ORDER BY repository_id
ON CONFLICT DO NOTHING;

-- name: refresh_identities
-- A known repository has another name, or its first target type. $1 as for learn_identities.
UPDATE repository_identities i
   SET full_name = new.full_name, hook_target_type = coalesce(i.hook_target_type, new.hook_target_type),
       by_own_hook = i.by_own_hook AND new.by_own_hook
  FROM jsonb_to_recordset($1::jsonb) AS new (
       repository_id bigint, forge text, forge_id bigint, full_name text, hook_target_type text,
       by_own_hook boolean)
 WHERE i.repository_id = new.repository_id AND i.forge_id = new.forge_id;

-- name: candidates
-- The pipelines stored under a repository's keys, the disabled ones too, and whether their owners may use it.
-- $1 repository ids, $2 keys (two columns of one table).
SELECT DISTINCT k.repository_id, p.id AS pipeline_config_id, p.revision_id, p.enabled,
  p.created_by AS owner_id,
       u.disabled_at IS NULL AND (u.is_admin OR EXISTS (
         SELECT FROM grants g WHERE g.repository_id = k.repository_id AND g.user_id = p.created_by
           AND g.role = 'maintainer')) AS owner_may_use
  FROM unnest($1::bigint[], $2::text[]) AS k (repository_id, key)
  JOIN pipeline_configs p ON p.repository_keys @> ARRAY[k.key] AND p.deleted_at IS NULL
    AND p.revision_id IS NOT NULL
  JOIN users u ON u.id = p.created_by
 ORDER BY k.repository_id, p.id;

-- name: revisions
-- The models of revisions. $1 ids.
SELECT id, model FROM pipeline_revisions WHERE id = ANY($1::bigint[]);

-- name: lock_pull_requests
-- Lets one transaction at a time decide about a pull request, so that a closing and what it supersedes see
-- one another. $1 repository ids, $2 numbers.
SELECT pg_advisory_xact_lock(2, key)
  FROM (SELECT DISTINCT hashtext(repository_id || '/' || number) AS key
         FROM unnest($1::bigint[], $2::bigint[]) AS asked (repository_id, number) ORDER BY 1) AS keys;

-- name: closings
-- When pull requests were last closed, by the forge's clock. $1 repository ids, $2 numbers.
SELECT e.repository_id, e.pull_request, max(e.happened_at) AS closed_at
  FROM unnest($1::bigint[], $2::bigint[]) AS asked (repository_id, number)
  JOIN events e ON e.repository_id = asked.repository_id AND e.pull_request = asked.number
    AND e.action = 'closed'
 GROUP BY e.repository_id, e.pull_request;

-- part: replace_open_outcome
ON CONFLICT (delivery_id) DO UPDATE
   SET outcome = EXCLUDED.outcome, reason = EXCLUDED.reason, event_id = EXCLUDED.event_id,
       repository_id = EXCLUDED.repository_id, decided_at = EXCLUDED.decided_at
 WHERE delivery_outcomes.outcome IN ('unknown_repository', 'repository_mismatch')

-- name: insert_events
-- A delivery's event with its outcome, once: no row for one that another replica has decided meanwhile. $1
-- events, each with `what` happened in a sentence.
WITH asked AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($1::jsonb) AS new (
         delivery_id bigint, kind event_kind, action text, repository_id bigint, repository text, ref text,
           branch text, tag text, sha text, before_sha text,
         base_branch text, pull_request bigint, merge_sha text, title text, message text, sender_login text,
           sender_id bigint, trusted boolean, deleted boolean,
         forced boolean, happened_at timestamptz, received_at timestamptz, what text,
         changed_files jsonb, files_unknown text)),
stored AS (
  INSERT INTO events (delivery_id, kind, action, repository_id, repository, ref, branch, tag, sha, before_sha,
         base_branch, pull_request, merge_sha, title, message,
                      sender_login, sender_id, trusted, deleted, forced, happened_at, received_at,
                      changed_files, files_unknown)
  SELECT delivery_id, kind, action, repository_id, repository, ref, branch, tag, sha, before_sha, base_branch,
    pull_request, merge_sha, title, message,
         sender_login, sender_id, trusted, deleted, forced, happened_at, received_at,
         nullif(changed_files, 'null'::jsonb), files_unknown
    FROM asked ORDER BY delivery_id
  ON CONFLICT (delivery_id) DO NOTHING
  RETURNING id, delivery_id, repository_id, created_at),
told AS (
  INSERT INTO delivery_outcomes (delivery_id, outcome, reason, event_id, repository_id)
  SELECT s.delivery_id, 'event', a.what, s.id, s.repository_id FROM stored s
    JOIN asked a ON a.delivery_id = s.delivery_id
  :replace_open_outcome)
SELECT id, delivery_id, created_at FROM stored;

-- name: insert_outcomes
-- What became of deliveries from which no event follows. The first answer stays, unless it was that the
-- repository is not registered. $1 outcomes.
INSERT INTO delivery_outcomes (delivery_id, outcome, reason, repository_id)
SELECT delivery_id, outcome, reason, repository_id
  FROM jsonb_to_recordset($1::jsonb) AS new (delivery_id bigint, outcome text, reason text,
         repository_id bigint)
 ORDER BY delivery_id
:replace_open_outcome;

-- name: insert_decisions
-- The answers for events and pipelines. $1 decisions.
INSERT INTO decisions (event_id, pipeline_config_id, revision_id, outcome, reasons, run_id)
SELECT event_id, pipeline_config_id, revision_id, outcome, reasons, run_id
  FROM jsonb_to_recordset($1::jsonb) AS new (event_id bigint, pipeline_config_id bigint, revision_id bigint,
         outcome text, reasons jsonb, run_id bigint);

-- name: superseded_runs
-- Runs not yet started whose pull request was closed after their event, and the event that closed it. $1
-- events that closed a pull request, $2 their repositories, $3 its numbers, $4 when (NULL: not known, so
-- every run).
SELECT DISTINCT ON (r.id) r.id, closing.event_id
  FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS closing (event_id,
         repository_id, number, at)
  JOIN events e ON e.repository_id = closing.repository_id AND e.pull_request = closing.number
    AND e.action <> 'closed'
  JOIN pipeline_runs r ON r.event_id = e.id
 WHERE r.status = 'pending' AND (coalesce(e.happened_at < closing.at, true)
        OR (e.happened_at = closing.at AND e.action <> 'reopened'))
 ORDER BY r.id, closing.event_id;

-- part: newer
coalesce(nullif(sign(extract(epoch FROM newer.happened_at - e.happened_at)), 0) > 0,
         newer.before_sha = e.sha OR coalesce(e.before_sha <> newer.sha, true) AND newer.id > e.id)

-- name: replaced_events
-- Events of pull requests after which a newer push is stored: by the forge's time, else by the commits, else
-- by the order in which they were stored. $1 events.
SELECT e.id FROM events e
 WHERE e.id = ANY($1::bigint[]) AND EXISTS (
       SELECT FROM events newer WHERE newer.repository_id = e.repository_id
          AND newer.pull_request = e.pull_request AND newer.id <> e.id AND newer.action <> 'closed'
          AND :newer);

-- name: replaced_fork_runs
-- Runs that need an approval and have not started, whose pull request has a newer push, and that push. $1
-- events.
SELECT DISTINCT ON (r.id) r.id, newer.id AS event_id
  FROM events newer
  JOIN events e ON e.repository_id = newer.repository_id AND e.pull_request = newer.pull_request
   AND e.id <> newer.id AND e.action <> 'closed'
  JOIN pipeline_runs r ON r.event_id = e.id
 WHERE newer.id = ANY($1::bigint[]) AND newer.action <> 'closed' AND r.status = 'pending'
   AND r.fork_policy = 'approve' AND :newer
 ORDER BY r.id, newer.id;

-- ---------------------------------------------------------------- runs and jobs

-- name: take_run_numbers
-- Takes the next run numbers of pipelines and returns the first number that was not taken. $1 pipelines, each
-- once and in order, $2 how many for each.
INSERT INTO run_numbers AS known (pipeline_config_id, next)
SELECT pipeline_config_id, 1 + count FROM unnest($1::bigint[], $2::integer[]) AS asked (pipeline_config_id,
       count)
ON CONFLICT (pipeline_config_id) DO UPDATE SET next = known.next + EXCLUDED.next - 1
RETURNING pipeline_config_id, next;

-- name: changes_around
-- The branches, tags and pull requests of events that another event follows (it starts at the commit where
-- they end), with all of their events among the thousand newest of the repository. Ids tell nothing about
-- which of them another replica decided first. $1 events.
WITH followed AS (
  SELECT DISTINCT e.repository_id, e.ref, e.pull_request
    FROM events e
   WHERE e.id = ANY($1::bigint[])
     AND EXISTS (SELECT FROM events next
                  WHERE next.repository_id = e.repository_id AND next.before_sha = e.sha AND next.id <> e.id
                    AND next.ref IS NOT DISTINCT FROM e.ref
                    AND next.pull_request IS NOT DISTINCT FROM e.pull_request))
SELECT e.id, e.repository_id, e.ref, e.pull_request, e.sha, e.before_sha, e.happened_at,
  e.created_at AS stored_at
  FROM (SELECT DISTINCT repository_id FROM followed) AS of
 CROSS JOIN LATERAL (SELECT * FROM events n WHERE n.repository_id = of.repository_id
        ORDER BY n.id DESC LIMIT 1000) AS e
  JOIN followed ON followed.repository_id = e.repository_id AND followed.ref IS NOT DISTINCT FROM e.ref
   AND followed.pull_request IS NOT DISTINCT FROM e.pull_request
 ORDER BY e.id;

-- name: insert_runs
-- New runs with their jobs and the beginning of their history. The caller has made sure that (event,
-- pipeline, rerun) is new. $1 runs, $2 jobs (each names its run by event and pipeline).
WITH new AS MATERIALIZED (
  SELECT nextval(pg_get_serial_sequence('pipeline_runs', 'id')) AS id, asked.*
    FROM jsonb_to_recordset($1::jsonb) AS asked (
         pipeline_config_id bigint, revision_id bigint, event_id bigint, rerun integer, number integer,
           retry_of bigint, triggered_by text, status status, reason reason,
         repository_id bigint, event_kind event_kind, branch text, sha text, priority integer,
           timeout_seconds integer, finished_at timestamptz, cause text,
         concurrency_group text, concurrency_limit integer, on_new text, group_order_at timestamptz,
         traceparent text, fork_policy text, approval_seconds float8, held_group jsonb)),
runs AS (
  INSERT INTO pipeline_runs (id, pipeline_config_id, revision_id, event_id, rerun, number, retry_of,
         triggered_by, status, reason, repository_id, event_kind, branch, sha, priority,
                             timeout_seconds, finished_at, logs, concurrency_group, concurrency_limit, on_new,
                               group_order_at, traceparent, fork_policy, approval_expires_at, held_group)
  OVERRIDING SYSTEM VALUE
  SELECT id, pipeline_config_id, revision_id, event_id, rerun, number, retry_of, triggered_by, status, reason,
    repository_id, event_kind, branch, sha, priority,
         timeout_seconds, finished_at, '/runs/' || id || '/logs', concurrency_group, concurrency_limit,
           on_new, group_order_at, traceparent, fork_policy, now() + make_interval(secs => approval_seconds),
           nullif(held_group, 'null'::jsonb)
    FROM new),
jobs AS (
  INSERT INTO jobs (run_id, key, name, position, needs, definition, has_rules, condition, outputs,
         infra_retries, status, reason, message, waiting_for,
         repository_id, ready_at, order_key, carried_from, finished_at)
  SELECT new.id, job.key, job.name, job.position, ARRAY(SELECT jsonb_array_elements_text(job.needs)),
    job.definition, job.has_rules, job.condition, job.outputs,
    0, job.status, job.reason, job.message, job.waiting_for,
         new.repository_id, job.ready_at, job.ready_at - make_interval(mins => 5 * new.priority),
         job.carried_from, job.finished_at
    FROM jsonb_to_recordset($2::jsonb) AS job (
         event_id bigint, pipeline_config_id bigint, key text, name text, position integer, needs jsonb,
           definition jsonb, has_rules boolean, condition text, outputs jsonb,
           status status, reason reason, message text,
         waiting_for waiting_for, ready_at timestamptz, carried_from bigint, finished_at timestamptz)
    JOIN new ON new.event_id = job.event_id AND new.pipeline_config_id = job.pipeline_config_id
   ORDER BY new.id, job.position),
history AS (
  INSERT INTO transitions (run_id, to_status, reason, cause) SELECT id, status, reason, cause FROM new
    ORDER BY id)
SELECT id, event_id, pipeline_config_id FROM new;

-- part: held_runs
SELECT id, concurrency_group IS NULL OR group_entered_at IS NOT NULL AS in_group, status, reason, started_at,
  finished_at, clock_timestamp() AS locked_at, traceparent, approval_expires_at, approved_at, held_group
  FROM pipeline_runs WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE

-- name: lock_runs
-- Runs, held until the end of the transaction; other services' references to them are not held up. $1 ids.
:held_runs;

-- name: lock_free_runs
-- Those of them that nobody else holds. $1 ids.
:held_runs SKIP LOCKED;

-- name: lock_jobs
-- The jobs of runs with the attempts they want, held until the end of the transaction; what they say about
-- trying again where an attempt ended badly. $1 runs. Each attempt but the first followed a loss or a failure
-- of the job's own code. The difference is right also where the release before counted attempts.
SELECT j.id, j.run_id, coalesce(j.key, j.name) AS key, j.needs, j.condition, j.outputs, j.status, j.reason,
       j.message, j.waiting_for, j.ready_at, j.admitted_at IS NOT NULL AS admitted,
       j.slot_freed_at, j.cancel_reason, j.cancel_cause, j.started_at, j.finished_at, j.cluster,
       j.wanted_attempt, j.retry_at, j.position,
       CASE WHEN j.has_rules THEN j.definition END AS definition,
       greatest(coalesce(j.wanted_attempt, 1) - 1 - j.script_retries, 0) AS infra_retries, j.script_retries,
       CASE WHEN a.outcome IN ('error', 'failed') THEN j.definition -> 'retry' END AS retry,
       a.id AS attempt_id, a.claimed_at AS attempt_claimed_at, a.finished_at AS attempt_finished_at,
       a.outcome AS attempt_outcome, a.reason AS attempt_reason,
       a.message AS attempt_message, CASE WHEN j.has_rules THEN a.outputs END AS attempt_outputs
  FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.number = j.wanted_attempt
 WHERE j.run_id = ANY($1::bigint[])
 ORDER BY j.id
   FOR NO KEY UPDATE OF j;

-- name: change_runs
-- Jobs and runs as the engine left them, with the history; an ended one never changes. $1 jobs, $2 runs, $3
-- transitions in order.
WITH jobs_changed AS (
  UPDATE jobs j
     SET status = c.status, reason = c.reason, message = c.message, waiting_for = c.waiting_for,
       slot_freed_at = c.slot_freed_at, cancel_reason = c.cancel_reason,
         cancel_cause = c.cancel_cause,
       admitted_at = CASE WHEN c.admitted THEN j.admitted_at END,
       wanted_attempt = CASE WHEN c.attempt > 1 THEN c.attempt ELSE j.wanted_attempt END,
       retry_at = c.retry_at, ready_at = c.ready_at,
       order_key = c.ready_at - make_interval(mins => 5 * r.priority),
       cancel_requested_at = CASE WHEN c.cancel_reason IS NOT NULL
                                  THEN coalesce(j.cancel_requested_at, now()) END,
         started_at = c.started_at, finished_at = c.finished_at,
       infra_retries = c.infra_retries, script_retries = c.script_retries,
       definition = coalesce(c.definition, j.definition), condition = c.condition,
       outputs = c.outputs
    FROM jsonb_to_recordset($1::jsonb) AS c (
         infra_retries integer, script_retries integer, definition jsonb, condition text,
         outputs jsonb, id bigint, status status, reason reason, message text, waiting_for waiting_for,
           slot_freed_at timestamptz, cancel_reason reason, cancel_cause text, admitted boolean,
             attempt integer,
         retry_at timestamptz, ready_at timestamptz, started_at timestamptz, finished_at timestamptz),
                pipeline_runs r
   WHERE j.id = c.id AND r.id = j.run_id AND j.status IN ('pending', 'running')),
runs_changed AS (
  UPDATE pipeline_runs r
     SET status = c.status, reason = c.reason, started_at = c.started_at, finished_at = c.finished_at,
         group_entered_at = CASE WHEN c.in_group
           AND r.concurrency_group IS NOT NULL THEN coalesce(r.group_entered_at, now()) END
    FROM jsonb_to_recordset($2::jsonb) AS c (id bigint, in_group boolean, status status, reason reason,
           started_at timestamptz, finished_at timestamptz)
   WHERE r.id = c.id AND r.status IN ('pending', 'running'))
INSERT INTO transitions (run_id, job_id, from_status, to_status, reason, cause)
SELECT run_id, job_id, from_status, to_status, reason, cause
  FROM jsonb_to_recordset($3::jsonb) AS new (run_id bigint, job_id bigint, from_status status,
         to_status status, reason reason, cause text);

-- name: approve_run
-- A run that waited for its approval, with the group that was kept for it. $1 run, $2 user.
UPDATE pipeline_runs
   SET approved_at = clock_timestamp(), approved_by = $2, concurrency_group = held_group ->> 'group',
       concurrency_limit = (held_group ->> 'limit')::integer, on_new = held_group ->> 'on_new',
       group_order_at = (held_group ->> 'order_at')::timestamptz
 WHERE id = $1 AND status = 'pending' AND approval_expires_at IS NOT NULL AND approved_at IS NULL;

-- name: runs_of_attempts
-- The runs that attempts belong to. $1 attempts.
SELECT DISTINCT j.run_id FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE a.id = ANY($1::bigint[]);

-- ---------------------------------------------------------------- admission

-- name: lock_admission
-- One admission at a time: the statement after this one counts what the transaction before has admitted. No
-- lock is waited for longer than a second, and nothing is compiled, for that takes longer than `admit`
-- itself.
WITH limits AS MATERIALIZED (SELECT set_config('lock_timeout', '1s', true), set_config('jit', 'off', true))
SELECT pg_advisory_xact_lock(1, 0) FROM limits;

-- name: groups_with_waiting
-- Runs of the groups in which a run waits for a place: those that have one, and the first hundred of those
-- that wait; with the newest runs that stop others.
WITH RECURSIVE
waiting AS (  -- each such group, found by one index step each
  (SELECT repository_id, concurrency_group FROM pipeline_runs
    WHERE status = 'pending' AND concurrency_group IS NOT NULL AND group_entered_at IS NULL
      ORDER BY repository_id, concurrency_group LIMIT 1)
  UNION ALL
  SELECT further.repository_id, further.concurrency_group
    FROM waiting w CROSS JOIN LATERAL (
         SELECT r.repository_id, r.concurrency_group FROM pipeline_runs r
          WHERE r.status = 'pending' AND r.concurrency_group IS NOT NULL AND r.group_entered_at IS NULL
            AND (r.repository_id, r.concurrency_group) > (w.repository_id, w.concurrency_group)
          ORDER BY r.repository_id, r.concurrency_group LIMIT 1) AS further)
SELECT w.repository_id, w.concurrency_group, member.*, canceller.at AS canceller_at,
  canceller.id AS canceller_id, keeper.at AS keeper_at, keeper.id AS keeper_id
  FROM waiting w
 CROSS JOIN LATERAL (
  (SELECT r.id, r.group_order_at, r.concurrency_limit, r.on_new, true AS entered,
          NOT EXISTS (SELECT FROM jobs j WHERE j.run_id = r.id AND j.status IN ('pending', 'running')
                 AND j.cancel_reason IS NULL) AS stopping
     FROM pipeline_runs r
    WHERE r.repository_id = w.repository_id AND r.concurrency_group = w.concurrency_group
      AND r.status IN ('pending', 'running') AND r.group_entered_at IS NOT NULL)
  UNION ALL
  (SELECT r.id, r.group_order_at, r.concurrency_limit, r.on_new, false, false
     FROM pipeline_runs r
    WHERE r.repository_id = w.repository_id AND r.concurrency_group = w.concurrency_group
      AND r.status = 'pending' AND r.group_entered_at IS NULL
    ORDER BY r.group_order_at, r.id LIMIT 100)) AS member
  LEFT JOIN LATERAL (
   SELECT r.group_order_at AS at, r.id FROM pipeline_runs r
    WHERE r.repository_id = w.repository_id AND r.concurrency_group = w.concurrency_group
      AND r.on_new = 'cancel_older'
    ORDER BY r.group_order_at DESC, r.id DESC LIMIT 1) AS canceller ON true
  LEFT JOIN LATERAL (
   SELECT r.group_order_at AS at, r.id FROM pipeline_runs r
    WHERE r.repository_id = w.repository_id AND r.concurrency_group = w.concurrency_group
      AND r.on_new = 'keep_latest_pending'
    ORDER BY r.group_order_at DESC, r.id DESC LIMIT 1) AS keeper ON true;

-- name: admit
-- Gives free slots to waiting jobs: to the repository that has the fewest first, within a repository in queue
-- order. Jobs that another transaction holds wait for the next admission. $1 slots over all, $2 slots of a
-- repository, $3 the default cluster. A job with labels goes to a cluster that has them all, first to one
-- whose executor was seen lately; if there is none, to the default one, whose executor refuses it. Each row
-- also tells in how many seconds the next pause before another attempt is over; where nothing was admitted,
-- one row without a job tells it.
WITH RECURSIVE
used AS (
  SELECT repository_id, count(*) AS slots FROM jobs WHERE admitted_at IS NOT NULL
    AND slot_freed_at IS NULL GROUP BY repository_id),
free AS (
  SELECT greatest($1::bigint - coalesce(sum(slots), 0), 0)::bigint AS slots FROM used),
waiting AS (  -- each repository with waiting jobs, found by one index step each
  (SELECT repository_id FROM jobs
    WHERE status = 'pending' AND ready_at IS NOT NULL AND admitted_at IS NULL
      AND (retry_at IS NULL OR retry_at <= clock_timestamp()) ORDER BY repository_id LIMIT 1)
  UNION ALL
  SELECT (SELECT j.repository_id FROM jobs j
           WHERE j.status = 'pending' AND j.ready_at IS NOT NULL AND j.admitted_at IS NULL
             AND (j.retry_at IS NULL OR j.retry_at <= clock_timestamp())
             AND j.repository_id > w.repository_id
           ORDER BY j.repository_id LIMIT 1)
    FROM waiting w WHERE w.repository_id IS NOT NULL),
queues AS (
  SELECT w.repository_id, coalesce(u.slots, 0) AS used FROM waiting w LEFT
    JOIN used u ON u.repository_id = w.repository_id WHERE w.repository_id IS NOT NULL),
reach AS (  -- with a queue for every free slot, none gets past the one that has the most
  SELECT CASE WHEN count(*) >= (SELECT slots FROM free) THEN least($2::bigint, max(used) + 1) ELSE $2::bigint
    END AS share FROM queues),
heads AS (
  SELECT job.id, job.order_key, q.used + row_number() OVER (PARTITION BY q.repository_id
         ORDER BY job.order_key, job.id) AS share
    FROM free f CROSS JOIN reach r CROSS JOIN queues q
   CROSS JOIN LATERAL (
         SELECT j.id, j.order_key FROM jobs j
          WHERE j.status = 'pending' AND j.ready_at IS NOT NULL AND j.admitted_at IS NULL
            AND (j.retry_at IS NULL OR j.retry_at <= clock_timestamp())
            AND j.repository_id = q.repository_id
          ORDER BY j.order_key, j.id LIMIT least(f.slots, greatest(r.share - q.used, 0))) AS job
   WHERE f.slots > 0),
chosen AS (
  SELECT id FROM heads ORDER BY share, order_key, id LIMIT (SELECT slots FROM free)),
held AS (
  SELECT j.id FROM jobs j
   -- Of an array the planner expects few rows.
   WHERE j.id = ANY(ARRAY(SELECT id FROM chosen)) AND j.status = 'pending' AND j.admitted_at IS NULL
   ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED),
admitted AS (
  UPDATE jobs j SET admitted_at = now(), wanted_attempt = coalesce(j.wanted_attempt, 1), waiting_for = NULL,
    cluster = coalesce(CASE WHEN j.definition -> 'cluster' <> '{}' THEN (
      SELECT c.name FROM clusters c WHERE c.labels @> (j.definition -> 'cluster')
       ORDER BY c.seen_at < now() - interval '2 minutes', c.name LIMIT 1) END, $3)
   WHERE j.id = ANY(ARRAY(SELECT id FROM held))
  RETURNING j.id, j.wanted_attempt, j.run_id, j.cluster)
SELECT a.id, a.wanted_attempt, a.cluster, pause.seconds AS next_retry_seconds,
  (SELECT r.traceparent FROM pipeline_runs r WHERE r.id = a.run_id) AS traceparent
  FROM (SELECT extract(epoch FROM min(retry_at) - clock_timestamp())::float8 AS seconds
          FROM jobs WHERE status = 'pending' AND admitted_at IS NULL
            AND retry_at > clock_timestamp()) AS pause
  LEFT JOIN admitted a ON true;

-- ---------------------------------------------------------------- commands

-- name: runs_of_commands
-- The runs that commands are about. $1 commands.
SELECT DISTINCT run_id FROM commands WHERE id = ANY($1::bigint[]) AND run_id IS NOT NULL;

-- name: open_commands
-- Commands that have no effect yet. $1 ids.
SELECT c.id, c.kind, coalesce(c.run_id, 0) AS run_id, c.arguments, c.requested_by, c.traceparent,
       coalesce(c.pipeline_config_id, 0) AS pipeline_config_id, coalesce(c.repository_id, 0) AS repository_id
  FROM commands c
 WHERE c.id = ANY($1::bigint[]) AND NOT EXISTS (SELECT FROM command_effects e WHERE e.command_id = c.id)
 ORDER BY c.id;

-- name: commands_without_effect
-- Commands that nobody has applied. One that waits for its ref has an event. $1 older than so many seconds.
SELECT c.id FROM commands c
 WHERE c.created_at < now() - make_interval(secs => $1)
   AND NOT EXISTS (SELECT FROM command_effects e WHERE e.command_id = c.id)
   AND NOT EXISTS (SELECT FROM events e WHERE e.command_id = c.id)
 ORDER BY c.id LIMIT 100
   FOR NO KEY UPDATE OF c SKIP LOCKED;

-- name: insert_effect
-- What a command did. $1 command, $2 outcome, $3 reason, $4 run.
INSERT INTO command_effects (command_id, outcome, reason, run_id) VALUES ($1, $2, $3, $4);

-- name: run_to_retry
-- A run with what its retry needs. $1 run.
SELECT clock_timestamp() AS now, r.id, r.status, r.event_id, r.pipeline_config_id, r.revision_id, r.rerun,
  r.repository_id, r.event_kind, r.branch, r.sha,
       (SELECT e.inputs FROM events e WHERE e.id = r.event_id) AS inputs,
       p.revision_id AS latest_revision_id, p.deleted_at IS NOT NULL AS pipeline_deleted,
       k.deleted_at IS NOT NULL AS repository_deleted,
       u.disabled_at IS NULL AND (u.is_admin OR EXISTS (
         SELECT FROM grants g WHERE g.repository_id = r.repository_id AND g.user_id = p.created_by
           AND g.role = 'maintainer')) AS owner_may_use,
       (SELECT again.id FROM pipeline_runs again
         WHERE again.event_id = r.event_id AND again.pipeline_config_id = r.pipeline_config_id
           AND again.rerun = r.rerun + 1) AS next_run_id
  FROM pipeline_runs r JOIN pipeline_configs p ON p.id = r.pipeline_config_id
    JOIN users u ON u.id = p.created_by JOIN repositories k ON k.id = r.repository_id
 WHERE r.id = $1;

-- name: event
-- $1 event.
SELECT * FROM events WHERE id = $1;

-- name: job_records
-- The jobs of a run, as a retry of the failed ones looks at them. $1 run.
SELECT id, coalesce(key, name) AS key, status, outputs FROM jobs WHERE run_id = $1;

-- ---------------------------------------------------------------- started runs

-- name: lock_starts
-- Lets one transaction at a time apply a command that starts a run. $1 commands.
SELECT pg_advisory_xact_lock(3, key)
  FROM (SELECT DISTINCT hashint8(id) AS key FROM commands
         WHERE id = ANY($1::bigint[]) AND run_id IS NULL ORDER BY 1) AS keys;

-- name: subject
-- The pipeline and the repository of an event without a delivery, as they are now. $1 pipeline, $2
-- repository.
SELECT p.revision_id, p.enabled, p.deleted_at IS NOT NULL AS pipeline_deleted,
       k.deleted_at IS NOT NULL AS repository_deleted,
       u.disabled_at IS NULL AND (u.is_admin OR EXISTS (
         SELECT FROM grants g WHERE g.repository_id = k.id AND g.user_id = p.created_by
           AND g.role = 'maintainer')) AS owner_may_use,
       ARRAY[coalesce(i.full_name, k.full_name), k.full_name] AS names
  FROM pipeline_configs p JOIN users u ON u.id = p.created_by CROSS JOIN repositories k
  LEFT JOIN repository_identities i ON i.repository_id = k.id
 WHERE p.id = $1 AND k.id = $2 AND p.revision_id IS NOT NULL;

-- name: insert_event
-- An event without a delivery, once; no row: it is there. $1 event.
INSERT INTO events (command_id, pipeline_config_id, repository_id, kind, repository, ref, branch, tag,
       sender_login, inputs, trusted, received_at)
SELECT command_id, pipeline_config_id, repository_id, kind, repository, ref, branch, tag,
       (SELECT u.name FROM users u WHERE u.id = requested_by), inputs, true, now()
  FROM jsonb_to_record($1::jsonb) AS new (command_id bigint, pipeline_config_id bigint, repository_id bigint,
         kind event_kind, repository text, ref text, branch text, tag text, requested_by bigint, inputs jsonb)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: insert_ref_request
-- $1 event, $2 cluster, $3 ref, $4 commit.
INSERT INTO ref_requests (event_id, cluster, ref, sha) VALUES ($1, $2, $3, $4);

-- name: lock_resolved
-- Events whose ref was resolved and that are not decided, held until the end of the transaction. $1 events.
SELECT e.*, c.traceparent, 'user:' || c.requested_by AS triggered_by, a.outcome, a.sha AS resolved_sha,
       a.message AS resolved_message
  FROM ref_requests q JOIN ref_resolutions a ON a.event_id = q.event_id JOIN events e ON e.id = q.event_id
  LEFT JOIN commands c ON c.id = e.command_id
 WHERE q.event_id = ANY($1::bigint[]) AND q.decided_at IS NULL
 ORDER BY q.event_id
   FOR NO KEY UPDATE OF q;

-- name: close_ref_request
-- $1 event, $2 its commit.
WITH closed AS (UPDATE ref_requests SET decided_at = now() WHERE event_id = $1)
UPDATE events SET sha = $2 WHERE id = $1;

-- name: resolved_not_decided
-- Answers of executors that nobody has folded. $1 older than so many seconds.
SELECT q.event_id FROM ref_requests q JOIN ref_resolutions a ON a.event_id = q.event_id
 WHERE q.decided_at IS NULL AND a.resolved_at < now() - make_interval(secs => $1)
 ORDER BY q.event_id LIMIT 100;

-- name: now
-- The time of the database's clock.
SELECT clock_timestamp();

-- ---------------------------------------------------------------- what messages did not finish

-- name: runs_to_fold
-- Runs whose admitted jobs are behind their attempts. $1 for so many seconds at least.
SELECT DISTINCT j.run_id
  FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.wanted_attempt
 WHERE j.admitted_at IS NOT NULL AND j.slot_freed_at IS NULL
   AND (a.finished_at < now() - make_interval(secs => $1)
          OR (j.status = 'pending' AND a.claimed_at < now() - make_interval(secs => $1)))
 LIMIT 500;

-- name: overdue_runs
-- Runs past their time with attempts that were not asked to stop. The database's clock judges.
SELECT DISTINCT r.id
  FROM pipeline_runs r JOIN jobs j ON j.run_id = r.id
 WHERE r.status = 'running' AND r.started_at + make_interval(secs => r.timeout_seconds) < now()
   AND j.status IN ('pending', 'running') AND j.cancel_reason IS NULL
 LIMIT 500;

-- name: expired_approvals
-- Runs that nobody has approved in time.
SELECT id FROM pipeline_runs
 WHERE status = 'pending' AND fork_policy = 'approve' AND approved_at IS NULL AND approval_expires_at <= now()
 LIMIT 500;

-- name: admitted_without_attempt
-- Admitted jobs of which the executor has no row. $1 for so many seconds at least.
SELECT j.id, j.wanted_attempt, j.cluster
  FROM jobs j
 WHERE j.admitted_at < now() - make_interval(secs => $1) AND j.slot_freed_at IS NULL
   AND NOT EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.number = j.wanted_attempt)
 ORDER BY j.id LIMIT 500;

-- name: stops_not_heard
-- Jobs whose attempts were asked to stop and whose executor has not noted it. $1 for so many seconds at
-- least.
SELECT j.id, j.wanted_attempt, j.cluster
  FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.number = j.wanted_attempt
 WHERE j.admitted_at IS NOT NULL AND j.slot_freed_at IS NULL
   AND j.cancel_requested_at < now() - make_interval(secs => $1)
   AND a.cancel_requested_at IS NULL AND a.finished_at IS NULL
 ORDER BY j.id LIMIT 500;

-- name: jobs_wait
-- Whether any job waits for a slot, or any run for a place in its group.
SELECT EXISTS (SELECT FROM jobs WHERE status = 'pending' AND ready_at IS NOT NULL AND admitted_at IS NULL)
    OR EXISTS (SELECT FROM pipeline_runs WHERE status = 'pending' AND concurrency_group IS NOT NULL
           AND group_entered_at IS NULL);
