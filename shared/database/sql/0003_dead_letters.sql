-- Dead letters: messages that no handler could take, kept where people can find them, explained and replayed.

-- writer: gateway. A message, once for each queue in which it died.
CREATE TABLE dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,  -- where it died
  cause text NOT NULL,  -- rejected, delivery_limit (the broker's words), unreadable, refused (the inlet's)
  detail text NOT NULL DEFAULT '',  -- what the record said when it refused
  type text NOT NULL,  -- what the message says it is; empty: it is no message
  message bytea NOT NULL,
  message_sha256 bytea NOT NULL,
  died_at timestamptz NOT NULL DEFAULT now(),  -- the last time
  created_at timestamptz NOT NULL DEFAULT now(),
  replayed_at timestamptz,  -- NULL: nobody has replayed it since it died
  replayed_by bigint REFERENCES users,
  CONSTRAINT dead_letters_once UNIQUE (queue, message_sha256));
CREATE INDEX dead_letters_open ON dead_letters (id DESC) WHERE replayed_at IS NULL;
