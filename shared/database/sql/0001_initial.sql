-- The first schema. Each table names its one writing service; every other service may read it.
-- Instants are timestamptz (UTC). Foreign keys are NO ACTION: nothing is ever deleted by cascade.

CREATE TYPE status AS ENUM ('pending', 'running', 'success', 'failed', 'cancelled', 'error', 'skipped');
CREATE TYPE attempt_status AS ENUM ('creating', 'created', 'claimed', 'running', 'finished');
CREATE TYPE reason AS ENUM (
  'script_failed', 'timed_out', 'oom_killed', 'service_failed',
  'evicted', 'preempted', 'node_lost', 'image_missing', 'image_auth', 'image_registry', 'unschedulable', 'quota', 'start_timed_out',
  'config_invalid', 'clone_failed', 'lost', 'platform',
  'cancelled_by_user', 'superseded', 'rejected',
  'dependency_failed', 'condition_false');
CREATE TYPE waiting_for AS ENUM ('approval', 'dependency', 'slot', 'group', 'quota', 'node', 'image', 'retry_backoff');
CREATE TYPE event_kind AS ENUM ('push', 'tag', 'pull_request', 'schedule', 'manual');

-- writer: migrate. The name of this installation; part of the name and labels of every object it makes in a cluster.
CREATE TABLE installation (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  name text NOT NULL CHECK (name ~ '^[a-z2-7]{8}$'),
  created_at timestamptz NOT NULL DEFAULT now());

-- ---------------------------------------------------------------- people and what they own (writer: gateway)

-- writer: gateway
CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,  -- stored in lower case
  is_admin boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  disabled_at timestamptz);

-- writer: gateway
CREATE TABLE api_tokens (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  name text NOT NULL,
  prefix text NOT NULL,  -- the first 8 characters, for people to recognise it
  hash bytea NOT NULL UNIQUE,  -- SHA-256 of the whole token; the token itself is never stored
  scopes text[] NOT NULL,  -- 'read', 'write', 'admin'
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz);
CREATE INDEX api_tokens_of_user ON api_tokens (user_id);

-- writer: gateway
CREATE TABLE repositories (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  forge text NOT NULL CHECK (forge IN ('github', 'gitea')),
  forge_id bigint,  -- as registered; NULL: learned, see repository_identities
  full_name text NOT NULL,  -- as registered
  clone_url text NOT NULL,
  hook_key text NOT NULL UNIQUE,
  webhook_secret bytea,  -- AES-GCM; NULL: the forge-wide secret counts
  clone_token bytea,  -- AES-GCM
  hook_target_type text,  -- GitHub: the X-GitHub-Hook-Installation-Target-Type that counts; NULL: the first one seen
  version bigint NOT NULL DEFAULT 1,
  created_by bigint NOT NULL REFERENCES users,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz);
CREATE UNIQUE INDEX repositories_by_name ON repositories (forge, lower(full_name)) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX repositories_by_forge_id ON repositories (forge, forge_id) WHERE deleted_at IS NULL AND forge_id IS NOT NULL;

-- writer: gateway
CREATE TABLE grants (
  repository_id bigint NOT NULL REFERENCES repositories,
  user_id bigint NOT NULL REFERENCES users,
  role text NOT NULL CHECK (role IN ('maintainer', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (repository_id, user_id));
CREATE INDEX grants_of_user ON grants (user_id);

-- writer: gateway
CREATE TABLE pipeline_configs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  yaml_config text NOT NULL,  -- the newest revision's
  revision_id bigint,  -- the newest revision
  revision integer NOT NULL DEFAULT 1,  -- its number; the ETag
  repository_keys text[] NOT NULL,  -- 'octo/web' for an exact name, 'octo/' for a glob; lower case; how an event finds its pipelines
  enabled boolean NOT NULL DEFAULT true,
  version bigint NOT NULL DEFAULT 1,  -- every change counts; the ETag
  created_by bigint NOT NULL REFERENCES users,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz);
CREATE UNIQUE INDEX pipeline_configs_by_name ON pipeline_configs (created_by, name) WHERE deleted_at IS NULL;
-- Matching reads only the pipelines that name the event's repository, whatever the number of others.
CREATE INDEX pipeline_configs_by_repository ON pipeline_configs USING gin (repository_keys) WHERE deleted_at IS NULL;

-- writer: gateway. Immutable: a save adds a row.
CREATE TABLE pipeline_revisions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_config_id bigint NOT NULL REFERENCES pipeline_configs,
  number integer NOT NULL,
  yaml_config text NOT NULL,
  model jsonb NOT NULL,  -- shared.pipeline.model.Pipeline as JSON
  created_by bigint NOT NULL REFERENCES users,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (pipeline_config_id, number));

-- writer: gateway. One HTTP POST of a forge, as received.
CREATE TABLE deliveries (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source text NOT NULL CHECK (source IN ('github', 'gitea')),
  delivery_id text NOT NULL,  -- the forge's own id
  event_type text NOT NULL,
  headers jsonb NOT NULL,  -- those that the scheduler needs, lower-case names
  body bytea,  -- zstd of the raw bytes; NULL after its retention
  body_sha256 bytea NOT NULL,  -- of the raw bytes
  body_bytes integer NOT NULL,
  hook_key text,  -- the repository's own hook that verified it; NULL: the forge-wide secret
  received_at timestamptz NOT NULL,
  via_inlet boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT deliveries_by_id UNIQUE (source, delivery_id));
-- GitHub's delivery id is not signed: the same body under another id is the same delivery. A body names its repository, so the forge id is in the hash.
CREATE UNIQUE INDEX deliveries_by_body ON deliveries (body_sha256, event_type) WHERE source = 'github';
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;  -- compressed already

-- writer: gateway. A stored wish of a user; the scheduler applies it once.
CREATE TABLE commands (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('cancel', 'retry')),
  run_id bigint NOT NULL,
  arguments jsonb NOT NULL DEFAULT '{}',
  requested_by bigint NOT NULL REFERENCES users,
  idempotency_key text,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX commands_once ON commands (requested_by, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- writer: gateway. Append only.
CREATE TABLE audit_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  user_id bigint REFERENCES users,
  action text NOT NULL,  -- 'pipeline.created'
  object text NOT NULL,  -- 'pipeline:12'
  details jsonb NOT NULL DEFAULT '{}');

-- ---------------------------------------------------------------- what happened and what follows (writer: scheduler)

-- writer: scheduler. What verified deliveries taught about a registered repository.
CREATE TABLE repository_identities (
  repository_id bigint PRIMARY KEY REFERENCES repositories,
  forge text NOT NULL,
  forge_id bigint NOT NULL,
  full_name text NOT NULL,  -- follows renames
  hook_target_type text,
  learned_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (forge, forge_id));
CREATE INDEX repository_identities_by_name ON repository_identities (forge, lower(full_name));

-- writer: scheduler. What a delivery says happened, normalised.
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  delivery_id bigint UNIQUE REFERENCES deliveries,
  kind event_kind NOT NULL,
  action text,  -- of a pull request: opened, synchronize, reopened, closed
  repository_id bigint REFERENCES repositories,
  repository text NOT NULL,  -- full name when it happened
  ref text,  -- refs/heads/main
  branch text,  -- of a push; of a pull request its head branch
  tag text,
  sha text,  -- what is built: the commit pushed, the head of the pull request
  before_sha text,
  base_branch text,
  pull_request bigint,
  merge_sha text,  -- the forge's merge of head and base, where known
  title text,
  message text,  -- of the head commit
  sender_login text,
  sender_id bigint,
  trusted boolean NOT NULL,
  deleted boolean NOT NULL DEFAULT false,  -- the push deleted its ref
  forced boolean NOT NULL DEFAULT false,
  happened_at timestamptz,  -- the forge's own time
  received_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX events_of_repository ON events (repository_id, id DESC);
CREATE INDEX events_of_pull_request ON events (repository_id, pull_request, id DESC) WHERE pull_request IS NOT NULL;

-- writer: scheduler. What became of a delivery; one row each, also where nothing follows.
CREATE TABLE delivery_outcomes (
  delivery_id bigint PRIMARY KEY REFERENCES deliveries,
  outcome text NOT NULL CHECK (outcome IN ('event', 'ignored', 'unknown_repository', 'repository_mismatch', 'other_hook', 'failed')),
  reason text NOT NULL,
  event_id bigint REFERENCES events,
  repository_id bigint REFERENCES repositories,  -- whose people may see the delivery; NULL: administrators only
  decided_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX delivery_outcomes_of_repository ON delivery_outcomes (repository_id, delivery_id DESC);

-- writer: scheduler
CREATE TABLE pipeline_runs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pipeline_config_id bigint NOT NULL REFERENCES pipeline_configs,
  revision_id bigint NOT NULL REFERENCES pipeline_revisions,
  event_id bigint NOT NULL REFERENCES events,
  rerun integer NOT NULL DEFAULT 0,
  number integer NOT NULL,  -- per pipeline, for people
  retry_of bigint REFERENCES pipeline_runs,
  triggered_by text NOT NULL,  -- github:<login>, gitea:<login>, user:<id>, retry:user:<id>
  status status NOT NULL DEFAULT 'pending',
  reason reason,
  repository_id bigint NOT NULL REFERENCES repositories,
  event_kind event_kind NOT NULL,
  branch text,
  sha text,
  priority integer NOT NULL DEFAULT 0,
  timeout_seconds integer NOT NULL,
  logs text,  -- /runs/{id}/logs
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz,
  expired_at timestamptz,
  UNIQUE (event_id, pipeline_config_id, rerun),
  UNIQUE (pipeline_config_id, number));
CREATE INDEX pipeline_runs_of_pipeline ON pipeline_runs (pipeline_config_id, id DESC);
CREATE INDEX pipeline_runs_of_repository ON pipeline_runs (repository_id, id DESC);
CREATE INDEX pipeline_runs_by_status ON pipeline_runs (status, id DESC);
CREATE INDEX pipeline_runs_by_sha ON pipeline_runs (sha, id DESC);
CREATE INDEX pipeline_runs_by_created_at ON pipeline_runs (created_at);
CREATE INDEX pipeline_runs_unfinished ON pipeline_runs (id) WHERE status IN ('pending', 'running');

-- writer: scheduler. The next run number of each pipeline.
CREATE TABLE run_numbers (
  pipeline_config_id bigint PRIMARY KEY REFERENCES pipeline_configs,
  next integer NOT NULL);

-- writer: scheduler. The answer for one (event, pipeline).
CREATE TABLE decisions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id bigint NOT NULL REFERENCES events,
  pipeline_config_id bigint NOT NULL REFERENCES pipeline_configs,
  revision_id bigint NOT NULL REFERENCES pipeline_revisions,
  outcome text NOT NULL CHECK (outcome IN ('run', 'not_matched', 'skipped', 'untrusted', 'superseded', 'not_allowed')),
  reasons jsonb NOT NULL,  -- [{"code": …, "text": …}]
  run_id bigint REFERENCES pipeline_runs,
  decided_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (event_id, pipeline_config_id));

-- writer: scheduler. A node of a run's graph.
CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL REFERENCES pipeline_runs,
  name text NOT NULL,
  position integer NOT NULL,  -- the order of the document
  needs text[] NOT NULL DEFAULT '{}',
  definition jsonb NOT NULL,  -- shared.pipeline.model.Job as JSON, the pipeline's env merged in
  status status NOT NULL DEFAULT 'pending',
  reason reason,
  waiting_for waiting_for,
  message text,  -- one sentence for people about the reason
  repository_id bigint NOT NULL REFERENCES repositories,
  cluster text NOT NULL DEFAULT 'local',
  wanted_attempt integer,  -- the attempt that the executor is to make
  ready_at timestamptz,  -- when its needs were met
  order_key timestamptz,  -- ready_at − priority × 5 minutes
  admitted_at timestamptz,  -- takes a slot until the wanted attempt has finished
  slot_freed_at timestamptz,  -- when the attempt was over
  cancel_requested_at timestamptz,
  cancel_reason reason,  -- what the job's reason will be when the attempt has ended by this request
  carried_from bigint REFERENCES jobs,
  started_at timestamptz,
  finished_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (run_id, name));
-- The queue: what waits for a slot, of each repository in the order in which it is to be admitted. An admission reads only the heads.
CREATE INDEX jobs_waiting ON jobs (repository_id, order_key, id) WHERE status = 'pending' AND ready_at IS NOT NULL AND admitted_at IS NULL;
-- Slots in use, counted at each admission.
CREATE INDEX jobs_in_slots ON jobs (repository_id) WHERE admitted_at IS NOT NULL AND slot_freed_at IS NULL;

-- writer: scheduler. Every change of a run's or job's status, in order.
CREATE TABLE transitions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL REFERENCES pipeline_runs,
  job_id bigint REFERENCES jobs,  -- NULL: the run itself
  from_status status,
  to_status status NOT NULL,
  reason reason,
  cause text NOT NULL,  -- 'event:12', 'attempt:7', 'command:3', 'deadline'
  at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX transitions_of_run ON transitions (run_id, id);

-- writer: scheduler
CREATE TABLE command_effects (
  command_id bigint PRIMARY KEY REFERENCES commands,
  outcome text NOT NULL CHECK (outcome IN ('applied', 'refused')),
  reason text NOT NULL,  -- 'cancelling', 'already_finished', 'not_retryable', 'run_created', 'run_exists', 'run_unknown'
  run_id bigint REFERENCES pipeline_runs,  -- of a retry: the new run
  applied_at timestamptz NOT NULL DEFAULT now());

-- ---------------------------------------------------------------- what ran (writer: executor)

-- writer: executor. One try at a job.
CREATE TABLE attempts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL REFERENCES jobs,
  number integer NOT NULL,
  status attempt_status NOT NULL DEFAULT 'creating',
  cluster text NOT NULL,
  creation_token text NOT NULL,  -- proves that an object found under our name is ours
  object_uid text,  -- of the Job (local cluster: of the pod directory)
  pod_uid text,  -- of the pod that holds the claim
  log_location text,  -- where the log sink finds the containers' logs; local cluster: the pod's directory
  containers text[] NOT NULL DEFAULT '{}',  -- whose logs are kept, in order: clone, job
  waiting_for waiting_for,
  exit_code integer,
  outcome status,  -- set with finished: success, failed, error, cancelled
  reason reason,
  message text,
  steps jsonb NOT NULL DEFAULT '[]',  -- [{"name", "exit_code", "started_at", "finished_at", "outcome"}]
  created_at timestamptz NOT NULL DEFAULT now(),
  claimed_at timestamptz,
  started_at timestamptz,  -- user code
  cancel_requested_at timestamptz,
  finished_at timestamptz,
  removed_at timestamptz,  -- its objects are gone from the cluster
  UNIQUE (job_id, number));
CREATE INDEX attempts_unfinished ON attempts (cluster, id) WHERE status <> 'finished';
CREATE INDEX attempts_to_remove ON attempts (cluster, id) WHERE status = 'finished' AND removed_at IS NULL;

-- writer: executor
CREATE TABLE attempt_transitions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  attempt_id bigint NOT NULL REFERENCES attempts,
  from_status attempt_status,
  to_status attempt_status NOT NULL,
  reason reason,
  at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX attempt_transitions_of_attempt ON attempt_transitions (attempt_id, id);

-- ---------------------------------------------------------------- what it said (writer: logsink)

-- writer: logsink. The log of one container of one attempt.
CREATE TABLE log_streams (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  attempt_id bigint NOT NULL REFERENCES attempts,
  container text NOT NULL,
  run_id bigint NOT NULL REFERENCES pipeline_runs,
  job_id bigint NOT NULL REFERENCES jobs,
  location text NOT NULL,
  owner text,  -- the process that follows it
  lease_until timestamptz,
  epoch bigint NOT NULL DEFAULT 0,  -- raised by each new owner; a cursor is only moved under its own epoch
  cursor jsonb,  -- where the source is to be read on
  next_seq integer NOT NULL DEFAULT 0,
  next_line bigint NOT NULL DEFAULT 1,
  stored_bytes bigint NOT NULL DEFAULT 0,  -- raw
  gaps jsonb NOT NULL DEFAULT '[]',  -- [{"line", "reason"}]: the lines that are gap markers
  sha256 bytea,  -- of all stored bytes, set by the seal
  sealed_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (attempt_id, container));
CREATE INDEX log_streams_unsealed ON log_streams (lease_until) WHERE sealed_at IS NULL;
CREATE INDEX log_streams_of_run ON log_streams (run_id);

-- writer: logsink. Consecutive lines of a stream.
CREATE TABLE log_segments (
  stream_id bigint NOT NULL REFERENCES log_streams,
  seq integer NOT NULL,
  first_line bigint NOT NULL,
  line_count integer NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  raw_bytes integer NOT NULL,
  data bytea NOT NULL,  -- zstd; lines with their line feeds
  PRIMARY KEY (stream_id, seq));
CREATE INDEX log_segments_by_line ON log_segments (stream_id, first_line);
ALTER TABLE log_segments ALTER COLUMN data SET STORAGE EXTERNAL;  -- compressed already

-- ---------------------------------------------------------------- messages still to be published (each service writes its own rows)

-- writer: each service its own rows (owner)
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner text NOT NULL,
  type text NOT NULL,
  message bytea NOT NULL,  -- JSON
  created_at timestamptz NOT NULL DEFAULT now(),
  claimed_until timestamptz NOT NULL,
  sent_at timestamptz);
CREATE INDEX outbox_unsent ON outbox (owner, claimed_until) WHERE sent_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0, fillfactor = 70);
