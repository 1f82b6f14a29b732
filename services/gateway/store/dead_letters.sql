-- name: insert_dead_letter
-- Keep a message that no handler could take; one that was replayed is open again. $1 queue, $2 cause, $3
-- detail, $4 type, $5 message, $6 its hash.
INSERT INTO dead_letters (queue, cause, detail, type, message, message_sha256) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT ON CONSTRAINT dead_letters_once DO UPDATE SET cause = EXCLUDED.cause, detail = EXCLUDED.detail,
  died_at = now(), replayed_at = NULL, replayed_by = NULL;

-- name: list_dead_letters
-- The newest dead letters. $1 before this id, $2 how many, $3 queue, $4 whether replayed.
SELECT id, queue, cause, detail, type, message, died_at, created_at, replayed_at, replayed_by
  FROM dead_letters
 WHERE id < $1 AND ($3::text IS NULL OR queue = $3)
   AND ($4::boolean IS NULL OR (replayed_at IS NOT NULL) = $4)
 ORDER BY id DESC LIMIT $2;

-- name: one_dead_letter
-- A dead letter with its message. $1 id.
SELECT id, queue, cause, detail, type, message, died_at, created_at, replayed_at, replayed_by
  FROM dead_letters WHERE id = $1;

-- name: mark_replayed
-- Nobody need replay it again unless it dies again. $1 id, $2 user.
UPDATE dead_letters SET replayed_at = now(), replayed_by = $2 WHERE id = $1 AND replayed_at IS NULL;
