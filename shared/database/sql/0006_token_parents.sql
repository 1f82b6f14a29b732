-- Tokens remember which token made them: a token ends with the one that made it.

ALTER TABLE api_tokens ADD COLUMN parent_id bigint REFERENCES api_tokens;  -- NULL: made on the server
CREATE INDEX api_tokens_of_parent ON api_tokens (parent_id) WHERE parent_id IS NOT NULL;
