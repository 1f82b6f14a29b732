-- Browsers that are signed in to the dashboard, and the links that sign one in. A session has the rights of its token
-- and ends with it. Only SHA-256 hashes of the secrets are stored.

-- writer: gateway
CREATE TABLE web_sessions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  hash bytea NOT NULL UNIQUE,
  token_id bigint NOT NULL REFERENCES api_tokens,
  browser text NOT NULL DEFAULT '',  -- its User-Agent, for people to recognise it
  created_at timestamptz NOT NULL DEFAULT now(),
  used_at timestamptz NOT NULL DEFAULT now(),  -- updated at most once a minute
  expires_at timestamptz NOT NULL,
  ended_at timestamptz);
CREATE INDEX web_sessions_of_token ON web_sessions (token_id);
CREATE INDEX web_sessions_by_expiry ON web_sessions (expires_at);

-- writer: gateway. Each link works once.
CREATE TABLE sign_in_links (
  hash bytea PRIMARY KEY,
  token_id bigint NOT NULL REFERENCES api_tokens,
  path text NOT NULL,  -- the page that it opens
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL);
CREATE INDEX sign_in_links_by_expiry ON sign_in_links (expires_at);
