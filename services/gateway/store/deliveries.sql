-- name: insert_deliveries
-- Store deliveries that are not known yet, and one message that names them all, in one statement: one
-- transaction, one journey to the server. One array a column: $1 source … $11 traceparent; $12 the message
-- with its ids still missing. The answer names the new deliveries.
WITH new AS (
  INSERT INTO deliveries (source, delivery_id, event_type, headers, body, body_sha256, body_bytes, hook_key,
         received_at, via_inlet, traceparent)
  SELECT source, delivery_id, event_type, headers::jsonb, body, body_sha256, body_bytes, hook_key,
    received_at, via_inlet, traceparent
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::integer[],
           $8::text[], $9::timestamptz[], $10::boolean[], $11::text[])
         AS given (source, delivery_id, event_type, headers, body, body_sha256, body_bytes, hook_key,
                received_at, via_inlet, traceparent)
  ON CONFLICT DO NOTHING
  RETURNING id, source, delivery_id),
message AS (
  INSERT INTO outbox (owner, type, message, claimed_until)
  SELECT 'gateway', 'delivery.accepted',
    convert_to(jsonb_set($12::text::jsonb, '{delivery_ids}', jsonb_agg(new.id))::text, 'UTF8'),
      now() + interval '5 seconds'
    FROM new HAVING count(*) > 0
  RETURNING id)
SELECT new.id, new.source, new.delivery_id, (SELECT id FROM message) AS outbox_id FROM new;

-- name: first_deliveries
-- Of deliveries that are known already, the first of their kind. $1 sources, $2 delivery ids, $3 event types,
-- $4 hashes; ordinal counts from 1. GitHub's delivery id is not signed, so there the same body counts too.
-- `is_open` is true if the body is the same and the first one was about no registered repository: nothing has
-- followed from it.
SELECT new.ordinal, first.delivery_id, first.id,
       first.body_sha256 = new.body_sha256 AND first.event_type = new.event_type
       AND coalesce(o.outcome IN ('unknown_repository', 'repository_mismatch'), false) AS is_open
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY AS new (source, delivery_id,
         event_type, body_sha256, ordinal)
 CROSS JOIN LATERAL (
       SELECT d.id, d.delivery_id, d.body_sha256, d.event_type FROM deliveries d
        WHERE d.source = new.source AND d.delivery_id = new.delivery_id
       UNION ALL
       SELECT d.id, d.delivery_id, d.body_sha256, d.event_type FROM deliveries d
        WHERE d.source = 'github' AND new.source = 'github' AND d.body_sha256 = new.body_sha256
          AND d.event_type = new.event_type
       LIMIT 1) AS first
  LEFT JOIN delivery_outcomes o ON o.delivery_id = first.id;

-- name: mark_redelivered
-- Mark deliveries that came again and were about no registered repository, and name them in one message, in
-- one statement. The hook that delivered last is the one that counts. One that is marked already stays as it
-- is. $1 ids in order, $2 headers, $3 bodies, $4 hook keys, $5 traces (columns of one table), $6 the message
-- with its ids still missing.
WITH again AS MATERIALIZED (
  SELECT d.id, given.headers, given.body, given.hook_key, given.traceparent
    FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::text[])
         AS given (id, headers, body, hook_key, traceparent)
    JOIN deliveries d ON d.id = given.id
    JOIN delivery_outcomes o ON o.delivery_id = d.id
   WHERE o.outcome IN ('unknown_repository', 'repository_mismatch')
     AND coalesce(d.redelivered_at <= o.decided_at, true)
   ORDER BY d.id
     FOR NO KEY UPDATE OF d),
marked AS (
  UPDATE deliveries d
     SET redelivered_at = now(), headers = again.headers::jsonb, body = again.body, hook_key = again.hook_key,
         traceparent = again.traceparent
    FROM again WHERE d.id = again.id
  RETURNING d.id),
message AS (
  INSERT INTO outbox (owner, type, message, claimed_until)
  SELECT 'gateway', 'delivery.accepted',
    convert_to(jsonb_set($6::text::jsonb, '{delivery_ids}', jsonb_agg(id))::text, 'UTF8'),
         now() + interval '5 seconds'
    FROM marked HAVING count(*) > 0
  RETURNING id)
SELECT marked.id, (SELECT id FROM message) AS outbox_id FROM marked;

-- name: list_deliveries
-- The newest deliveries that a user may see. $1 user, $2 administrator, $3 before this id, $4 how many, $5
-- source, $6 event type, $7 outcome.
SELECT d.id, d.source, d.delivery_id, d.event_type, d.received_at, d.via_inlet, d.body_bytes, o.outcome,
  o.reason, o.event_id, o.repository_id, o.decided_at
  FROM deliveries d LEFT JOIN delivery_outcomes o ON o.delivery_id = d.id
 WHERE ($2 OR o.repository_id IN (SELECT repository_id FROM grants WHERE user_id = $1)) AND d.id < $3
   AND ($5::text IS NULL OR d.source = $5) AND ($6::text IS NULL OR d.event_type = $6)
     AND ($7::text IS NULL OR o.outcome = $7)
 ORDER BY d.id DESC LIMIT $4;

-- name: one_delivery
-- A delivery by the forge's id, where the user may see it. $1 user, $2 administrator, $3 delivery id, $4
-- source.
SELECT d.id, d.source, d.delivery_id, d.event_type, d.received_at, d.via_inlet, d.body_bytes, d.headers,
  encode(d.body_sha256, 'hex') AS body_sha256, d.traceparent,
       d.body IS NOT NULL AS is_body_kept, o.outcome, o.reason, o.event_id, o.repository_id, o.decided_at
  FROM deliveries d LEFT JOIN delivery_outcomes o ON o.delivery_id = d.id
 WHERE d.delivery_id = $3 AND ($4::text IS NULL OR d.source = $4)
   AND ($2 OR o.repository_id IN (SELECT repository_id FROM grants WHERE user_id = $1))
 ORDER BY d.id DESC LIMIT 1;

-- name: old_deliveries
-- The next deliveries in order of id that are past a retention. $1 after this id, $2 days, $3 how many are
-- looked at.
SELECT id FROM (SELECT id, created_at FROM deliveries WHERE id > $1 ORDER BY id LIMIT $3) AS next
  WHERE created_at < now() - make_interval(days => $2::integer)
 ORDER BY id;

-- name: forget_bodies
-- Drop the bodies of those that are decided, and not to be decided again. $1 ids.
UPDATE deliveries d SET body = NULL
 WHERE d.id = ANY($1::bigint[]) AND d.body IS NOT NULL
   AND EXISTS (SELECT FROM delivery_outcomes o
                WHERE o.delivery_id = d.id AND coalesce(d.redelivered_at <= o.decided_at, true));
