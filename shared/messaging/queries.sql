-- name: outbox_claim
-- Take messages that nobody is publishing. $1 owner, $2 how many.
UPDATE outbox SET claimed_until = now() + interval '5 seconds'
 WHERE id IN (SELECT id FROM outbox WHERE owner = $1 AND sent_at IS NULL AND claimed_until < now()
               ORDER BY claimed_until LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING id, message;

-- name: outbox_mark_sent
-- The broker has confirmed these. $1 ids.
UPDATE outbox SET sent_at = now() WHERE id = ANY($1::bigint[]);

-- name: outbox_forget
-- Delete some messages that were sent over an hour ago. $1 owner.
DELETE FROM outbox
 WHERE id IN (SELECT id FROM outbox WHERE owner = $1
        AND sent_at < now() - interval '1 hour' LIMIT 5000 FOR UPDATE SKIP LOCKED)
RETURNING id;
