-- name: open_streams
-- Begin the streams of these attempts; those that are new and that this process can read come back, as its
-- own. The others wait for one that can. $1 attempts, $2 owner, $3 lease in seconds; what can be read: $4
-- whether files of this machine, $5 the clusters with an API server, $6 locations on this node.
WITH opened AS (
  INSERT INTO log_streams (attempt_id, container, run_id, job_id, location, owner, lease_until, epoch)
  SELECT attempts.id, container, jobs.run_id, jobs.id, attempts.log_location, CASE WHEN readable THEN $2 END,
         now() + make_interval(secs => CASE WHEN readable THEN $3::double precision ELSE 0 END), 1
    FROM attempts JOIN jobs ON jobs.id = attempts.job_id, unnest(attempts.containers) AS container,
         LATERAL (SELECT (log_location LIKE '/%' AND $4::boolean)
                OR (log_location LIKE 'kubernetes:///%' AND attempts.cluster = ANY($5::text[]))
                         OR log_location = ANY($6::text[]) AS readable) AS reach
   WHERE attempts.id = ANY($1::bigint[]) AND attempts.log_location IS NOT NULL
   ORDER BY attempts.id, container
  ON CONFLICT (attempt_id, container) DO NOTHING
  RETURNING *)
SELECT opened.*, attempts.cluster, attempts.creation_token, attempts.traceparent,
  cardinality(attempts.containers) AS containers,
  repositories.id AS repository_id, repositories.clone_token, repositories.webhook_secret,
  attempts.secret_versions, ARRAY(SELECT secret_versions.value FROM secret_versions
    WHERE secret_versions.id = ANY(attempts.secret_versions) ORDER BY secret_versions.id) AS secret_values
  FROM opened JOIN attempts ON attempts.id = opened.attempt_id JOIN jobs ON jobs.id = opened.job_id
    JOIN repositories ON repositories.id = jobs.repository_id
 WHERE opened.owner IS NOT NULL;

-- name: take_over_streams
-- Become the owner of streams whose owner is gone, longest gone first. $1 owner, $2 lease in seconds, $3 how
-- many; what can be read: $4 whether files of this machine, $5 the clusters with an API server, $6 locations
-- on this node.
WITH free AS (
  SELECT log_streams.id FROM log_streams JOIN attempts ON attempts.id = log_streams.attempt_id
   WHERE sealed_at IS NULL AND lease_until < now()
     AND ((location LIKE '/%' AND $4::boolean) OR (location LIKE 'kubernetes:///%'
            AND attempts.cluster = ANY($5::text[])) OR location = ANY($6::text[]))
   ORDER BY lease_until LIMIT $3 FOR UPDATE OF log_streams SKIP LOCKED
), taken AS (
  UPDATE log_streams SET owner = $1, lease_until = now() + make_interval(secs => $2), epoch = epoch + 1
   WHERE id IN (SELECT id FROM free)
  RETURNING *)
SELECT taken.*, attempts.cluster, attempts.creation_token, attempts.traceparent,
  cardinality(attempts.containers) AS containers,
  repositories.id AS repository_id, repositories.clone_token, repositories.webhook_secret,
  attempts.secret_versions, ARRAY(SELECT secret_versions.value FROM secret_versions
    WHERE secret_versions.id = ANY(attempts.secret_versions) ORDER BY secret_versions.id) AS secret_values
  FROM taken JOIN attempts ON attempts.id = taken.attempt_id JOIN jobs ON jobs.id = taken.job_id
    JOIN repositories ON repositories.id = jobs.repository_id;

-- name: take_over_stream
-- Become the owner of one stream that nobody owns. $1 owner, $2 lease in seconds, $3 stream.
WITH taken AS (
  UPDATE log_streams SET owner = $1, lease_until = now() + make_interval(secs => $2), epoch = epoch + 1
   WHERE id = $3 AND sealed_at IS NULL AND lease_until < now()
  RETURNING *)
SELECT taken.*, attempts.cluster, attempts.creation_token, attempts.traceparent,
  cardinality(attempts.containers) AS containers,
  repositories.id AS repository_id, repositories.clone_token, repositories.webhook_secret,
  attempts.secret_versions, ARRAY(SELECT secret_versions.value FROM secret_versions
    WHERE secret_versions.id = ANY(attempts.secret_versions) ORDER BY secret_versions.id) AS secret_values
  FROM taken JOIN attempts ON attempts.id = taken.attempt_id JOIN jobs ON jobs.id = taken.job_id
    JOIN repositories ON repositories.id = jobs.repository_id;

-- name: attempts_at
-- Claimed attempts of a cluster whose logs are at these locations and that lack a stream. $1 cluster, $2
-- locations.
SELECT id FROM attempts
 WHERE cluster = $1 AND status <> 'finished' AND claimed_at IS NOT NULL AND log_location = ANY($2::text[])
   AND cardinality(containers) > (SELECT count(*) FROM log_streams WHERE attempt_id = attempts.id);

-- name: unattended_streams
-- Streams that are to be read on a node and that nobody has owned for a while. $1 clusters, $2 for so many
-- seconds, $3 a long silence in seconds, $4 how many.
SELECT log_streams.id, log_streams.container, log_streams.location, attempts.cluster, attempts.traceparent,
  attempts.status = 'finished' AS is_over, attempts.reason::text AS reason,
       coalesce(attempts.finished_at < now() - make_interval(secs => $3), false) AS is_long_over
  FROM log_streams JOIN attempts ON attempts.id = log_streams.attempt_id
 WHERE sealed_at IS NULL AND location LIKE 'node:///%' AND lease_until < now() - make_interval(secs => $2)
   AND attempts.cluster = ANY($1::text[])
 ORDER BY lease_until LIMIT $4;

-- name: renew_leases
-- Stay the owner of streams; those that were lost do not come back, the others with what became of their
-- attempts. $1 streams, $2 their epochs, $3 lease in seconds.
UPDATE log_streams SET lease_until = now() + make_interval(secs => $3)
  FROM unnest($1::bigint[], $2::bigint[]) AS held (id, epoch), attempts
 WHERE log_streams.id = held.id AND log_streams.epoch = held.epoch AND sealed_at IS NULL
   AND attempts.id = log_streams.attempt_id
RETURNING log_streams.id, attempts.status = 'finished' AS is_over, attempts.reason::text AS reason;

-- name: hand_back_leases
-- Give streams up at once, for others to take over. $1 streams, $2 their epochs.
UPDATE log_streams SET owner = NULL, lease_until = now()
  FROM unnest($1::bigint[], $2::bigint[]) AS held (id, epoch)
 WHERE log_streams.id = held.id AND log_streams.epoch = held.epoch AND sealed_at IS NULL;

-- name: append
-- Store segments, cursors and seals of many streams; only a stream's present owner may, and only its streams
-- come back. Safe to repeat. $1 to $8 are the streams, $9 to $16 the segments. Leases are renewed apart: this
-- way no indexed column changes, and Postgres updates the row in its page.
WITH given AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[],
         $7::text[], $8::bytea[])
             AS given (id, epoch, cursor, next_seq, next_line, stored_bytes, gaps, sha256)
), moved AS (
  UPDATE log_streams
     SET cursor = coalesce(given.cursor::jsonb, log_streams.cursor), next_seq = given.next_seq,
         next_line = given.next_line, stored_bytes = given.stored_bytes,
         gaps = given.gaps::jsonb, sha256 = given.sha256,
         sealed_at = CASE WHEN given.sha256 IS NOT NULL THEN coalesce(sealed_at, now()) END
    FROM given
   WHERE log_streams.id = given.id AND log_streams.epoch = given.epoch
  RETURNING log_streams.id
), stored AS (
  INSERT INTO log_segments (stream_id, seq, first_line, line_count, first_at, last_at, raw_bytes, data)
  SELECT new.* FROM unnest($9::bigint[], $10::integer[], $11::bigint[], $12::integer[], $13::timestamptz[],
         $14::timestamptz[], $15::integer[], $16::bytea[])
             AS new (stream_id, seq, first_line, line_count, first_at, last_at, raw_bytes, data)
    JOIN moved ON moved.id = new.stream_id
  ON CONFLICT (stream_id, seq) DO NOTHING
)
SELECT id FROM moved;

-- name: lock_attempts
-- Two log sinks that seal streams of one attempt do so one after the other, so that the last one sees both.
-- $1 attempts.
SELECT id FROM log_streams WHERE attempt_id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE;

-- name: sealed_attempts
-- Those of these attempts whose every container's log is sealed. $1 attempts.
SELECT id FROM attempts
 WHERE attempts.id = ANY($1::bigint[])
   AND (SELECT count(*) FROM log_streams WHERE attempt_id = attempts.id
          AND sealed_at IS NOT NULL) = cardinality(attempts.containers);

-- name: stored_segments
-- What is stored of a stream, a part at a time. $1 stream, $2 the first seq wanted, $3 how many.
SELECT seq, data, raw_bytes FROM log_segments WHERE stream_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3;

-- name: attempt_over_for
-- Whether a stream's attempt has been over for so long. $1 stream, $2 seconds.
SELECT attempts.finished_at < now() - make_interval(secs => $2)
  FROM log_streams JOIN attempts ON attempts.id = log_streams.attempt_id
 WHERE log_streams.id = $1;

-- name: unopened_attempts
-- Claimed attempts, by age, with a container that has no stream. $1 their least age in seconds, $2 how many.
SELECT id FROM (
  SELECT id, claimed_at, containers, log_location FROM attempts WHERE status <> 'finished'
  UNION ALL
  SELECT id, claimed_at, containers, log_location FROM attempts WHERE status = 'finished'
    AND removed_at IS NULL) AS kept
 WHERE claimed_at < now() - make_interval(secs => $1) AND log_location IS NOT NULL
   AND cardinality(containers) > (SELECT count(*) FROM log_streams WHERE attempt_id = kept.id)
 ORDER BY claimed_at LIMIT $2;

-- name: expired_streams
-- Sealed streams of expired runs. $1 how many.
SELECT log_streams.id FROM pipeline_runs JOIN log_streams ON log_streams.run_id = pipeline_runs.id
 WHERE pipeline_runs.expired_at < now() AND sealed_at IS NOT NULL
 LIMIT $1;

-- name: delete_segments
-- Delete some segments of a stream. $1 stream, $2 how many.
DELETE FROM log_segments WHERE stream_id = $1
  AND seq IN (SELECT seq FROM log_segments WHERE stream_id = $1 ORDER BY seq LIMIT $2);

-- name: delete_stream
-- Delete a stream that has no segments. $1 stream.
DELETE FROM log_streams WHERE id = $1;
