-- Events without a delivery: a user starts a run, or a schedule does. Their ref is resolved once, before the decision.
-- Services of the release before know none of these columns, and none of their events has them.

ALTER TABLE commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE commands ADD CONSTRAINT commands_kind_check CHECK (kind IN
  ('cancel', 'retry', 'approve', 'start')) NOT VALID;
ALTER TABLE commands ALTER COLUMN run_id DROP NOT NULL;  -- NULL: of a start, which makes its run
ALTER TABLE commands ADD COLUMN pipeline_config_id bigint REFERENCES pipeline_configs;  -- of a start
ALTER TABLE commands ADD COLUMN repository_id bigint REFERENCES repositories;  -- of a start

ALTER TABLE events ADD COLUMN command_id bigint UNIQUE REFERENCES commands;  -- of a manual event
ALTER TABLE events ADD COLUMN pipeline_config_id bigint REFERENCES pipeline_configs;  -- the only one that it is for; NULL: all
ALTER TABLE events ADD COLUMN inputs jsonb NOT NULL DEFAULT '{}';  -- those that were given, as text by name

-- writer: scheduler. A ref that an executor is to resolve, so that the event's commit is known.
CREATE TABLE ref_requests (
  event_id bigint PRIMARY KEY REFERENCES events,
  cluster text NOT NULL,  -- whose executor asks the repository's server
  ref text,  -- refs/heads/main, refs/tags/v1; NULL: the commit `sha`
  sha text,  -- a commit that a branch or tag has to reach
  created_at timestamptz NOT NULL DEFAULT now(),
  decided_at timestamptz,  -- when the event was decided
  CHECK ((ref IS NULL) <> (sha IS NULL)));
CREATE INDEX ref_requests_open ON ref_requests (cluster, event_id) WHERE decided_at IS NULL;

-- writer: executor. What a repository's server said about a ref.
CREATE TABLE ref_resolutions (
  event_id bigint PRIMARY KEY REFERENCES events,
  outcome text NOT NULL CHECK (outcome IN ('resolved', 'ref_gone', 'sha_unreachable', 'not_resolved')),
  sha text,  -- of the commit, where resolved
  message text NOT NULL,  -- a sentence for people
  resolved_at timestamptz NOT NULL DEFAULT now());

ALTER TABLE decisions DROP CONSTRAINT decisions_outcome_check;
ALTER TABLE decisions ADD CONSTRAINT decisions_outcome_check CHECK (outcome IN
  ('run', 'not_matched', 'filtered', 'skipped', 'untrusted', 'superseded', 'not_allowed', 'ref_gone')) NOT VALID;
