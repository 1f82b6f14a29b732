-- The audit log says where a request came from. A command may be about an event instead of a run.

ALTER TABLE audit_log
  ADD COLUMN token_id bigint REFERENCES api_tokens,  -- NULL: no API request
  ADD COLUMN address text,  -- the peer of the connection: the last proxy, if there is one
  ADD COLUMN traceparent text;
CREATE INDEX audit_log_of_user ON audit_log (user_id, id DESC);
CREATE INDEX audit_log_of_object ON audit_log (object, id DESC);

ALTER TABLE commands
  ALTER COLUMN run_id DROP NOT NULL,  -- NULL: the command is not about a run; `arguments` name its object
  DROP CONSTRAINT commands_kind_check,
  ADD CONSTRAINT commands_kind_check CHECK (kind IN ('cancel', 'retry', 'replay'));

-- decisions: of a replay. [{"pipeline_config_id", "revision_id", "outcome", "reasons", "run_id"}]
ALTER TABLE command_effects ADD COLUMN decisions jsonb;
