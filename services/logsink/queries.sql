-- name: open_streams
-- Begin the streams of these attempts as their owner; only those that are new come back. $1 attempts, $2 owner, $3 lease in seconds.
WITH opened AS (
  INSERT INTO log_streams (attempt_id, container, run_id, job_id, location, owner, lease_until, epoch)
  SELECT attempts.id, container, jobs.run_id, jobs.id, attempts.log_location, $2, now() + make_interval(secs => $3), 1
    FROM attempts JOIN jobs ON jobs.id = attempts.job_id, unnest(attempts.containers) AS container
   WHERE attempts.id = ANY($1::bigint[]) AND attempts.log_location IS NOT NULL
   ORDER BY attempts.id, container
  ON CONFLICT (attempt_id, container) DO NOTHING
  RETURNING *)
SELECT opened.*, attempts.cluster, cardinality(attempts.containers) AS containers, repositories.id AS repository_id, repositories.clone_token, repositories.webhook_secret
  FROM opened JOIN attempts ON attempts.id = opened.attempt_id JOIN jobs ON jobs.id = opened.job_id JOIN repositories ON repositories.id = jobs.repository_id;

-- name: take_over_streams
-- Become the owner of streams whose owner is gone, longest gone first. $1 owner, $2 lease in seconds, $3 how many.
WITH free AS (
  SELECT id FROM log_streams WHERE sealed_at IS NULL AND lease_until < now() ORDER BY lease_until LIMIT $3 FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE log_streams SET owner = $1, lease_until = now() + make_interval(secs => $2), epoch = epoch + 1
   WHERE id IN (SELECT id FROM free)
  RETURNING *)
SELECT taken.*, attempts.cluster, cardinality(attempts.containers) AS containers, repositories.id AS repository_id, repositories.clone_token, repositories.webhook_secret
  FROM taken JOIN attempts ON attempts.id = taken.attempt_id JOIN jobs ON jobs.id = taken.job_id JOIN repositories ON repositories.id = jobs.repository_id;

-- name: renew_leases
-- Stay the owner of streams; those that were lost do not come back. $1 streams, $2 their epochs, $3 lease in seconds.
UPDATE log_streams SET lease_until = now() + make_interval(secs => $3)
  FROM unnest($1::bigint[], $2::bigint[]) AS held (id, epoch)
 WHERE log_streams.id = held.id AND log_streams.epoch = held.epoch AND sealed_at IS NULL
RETURNING log_streams.id;

-- name: hand_back_leases
-- Give streams up at once, for others to take over. $1 streams, $2 their epochs.
UPDATE log_streams SET owner = NULL, lease_until = now()
  FROM unnest($1::bigint[], $2::bigint[]) AS held (id, epoch)
 WHERE log_streams.id = held.id AND log_streams.epoch = held.epoch AND sealed_at IS NULL;

-- name: append
-- Store segments, cursors and seals of many streams; only a stream's present owner may, and only its streams come back. Safe to repeat. $1 to $8 are the streams, $9 to $16 the segments.
-- Leases are renewed apart: this way no indexed column changes, and Postgres updates the row in its page.
WITH given AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::text[], $8::bytea[])
             AS given (id, epoch, cursor, next_seq, next_line, stored_bytes, gaps, sha256)
), moved AS (
  UPDATE log_streams
     SET cursor = coalesce(given.cursor::jsonb, log_streams.cursor), next_seq = given.next_seq, next_line = given.next_line, stored_bytes = given.stored_bytes,
         gaps = given.gaps::jsonb, sha256 = given.sha256, sealed_at = CASE WHEN given.sha256 IS NOT NULL THEN coalesce(sealed_at, now()) END
    FROM given
   WHERE log_streams.id = given.id AND log_streams.epoch = given.epoch
  RETURNING log_streams.id
), stored AS (
  INSERT INTO log_segments (stream_id, seq, first_line, line_count, first_at, last_at, raw_bytes, data)
  SELECT new.* FROM unnest($9::bigint[], $10::integer[], $11::bigint[], $12::integer[], $13::timestamptz[], $14::timestamptz[], $15::integer[], $16::bytea[])
             AS new (stream_id, seq, first_line, line_count, first_at, last_at, raw_bytes, data)
    JOIN moved ON moved.id = new.stream_id
  ON CONFLICT (stream_id, seq) DO NOTHING
)
SELECT id FROM moved;

-- name: lock_attempts
-- Two log sinks that seal streams of one attempt do so one after the other, so that the last one sees both. $1 attempts.
SELECT id FROM log_streams WHERE attempt_id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE;

-- name: sealed_attempts
-- Those of these attempts whose every container's log is sealed. $1 attempts.
SELECT id FROM attempts
 WHERE attempts.id = ANY($1::bigint[])
   AND (SELECT count(*) FROM log_streams WHERE attempt_id = attempts.id AND sealed_at IS NOT NULL) = cardinality(attempts.containers);

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
  SELECT id, claimed_at, containers, log_location FROM attempts WHERE status = 'finished' AND removed_at IS NULL) AS kept
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
DELETE FROM log_segments WHERE stream_id = $1 AND seq IN (SELECT seq FROM log_segments WHERE stream_id = $1 ORDER BY seq LIMIT $2);

-- name: delete_stream
-- Delete a stream that has no segments. $1 stream.
DELETE FROM log_streams WHERE id = $1;
