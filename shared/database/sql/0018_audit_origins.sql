-- The audit log says where a request came from.

ALTER TABLE audit_log
  ADD COLUMN token_id bigint REFERENCES api_tokens,  -- NULL: no API request
  ADD COLUMN address text,  -- the peer of the connection: the last proxy, if there is one
  ADD COLUMN traceparent text;
CREATE INDEX audit_log_of_user ON audit_log (user_id, id DESC);
CREATE INDEX audit_log_of_object ON audit_log (object, id DESC);
