-- name: insert_pipeline
-- $1 name, $2 description, $3 YAML, $4 repository keys, $5 enabled, $6 owner. No row: the owner has a pipeline of that name.
INSERT INTO pipeline_configs (name, description, yaml_config, repository_keys, enabled, created_by) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING id, revision;

-- name: insert_revision
-- Keep what a pipeline says from here on, and make it the newest. $1 pipeline, $2 number, $3 YAML, $4 model, $5 user.
WITH new AS (
  INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by) VALUES ($1, $2, $3, $4, $5) RETURNING id)
UPDATE pipeline_configs SET revision_id = new.id, revision = $2 FROM new WHERE pipeline_configs.id = $1;

-- name: one_pipeline
-- A pipeline that is not deleted, where the user may see it. $1 pipeline, $2 user, $3 administrator.
SELECT id, name, description, yaml_config, enabled, revision, revision_id, version, created_by, created_at, updated_at
  FROM pipeline_configs WHERE id = $1 AND deleted_at IS NULL AND ($3 OR created_by = $2);

-- name: lock_pipeline
-- The same, held until the transaction ends.
SELECT id, name, description, yaml_config, enabled, revision, revision_id, version, created_by, created_at, updated_at
  FROM pipeline_configs WHERE id = $1 AND deleted_at IS NULL AND ($3 OR created_by = $2) FOR UPDATE;

-- name: list_pipelines
-- $1 user, $2 administrator, $3 before this id, $4 how many, $5 name.
SELECT id, name, description, enabled, revision, version, created_by, created_at, updated_at
  FROM pipeline_configs
 WHERE deleted_at IS NULL AND ($2 OR created_by = $1) AND id < $3 AND ($5::text IS NULL OR name = $5)
 ORDER BY id DESC LIMIT $4;

-- name: change_pipeline
-- $1 pipeline, $2 name, $3 description, $4 YAML, $5 repository keys (NULL: as they are), $6 enabled.
UPDATE pipeline_configs SET name = $2, description = $3, yaml_config = $4, repository_keys = coalesce($5, repository_keys), enabled = $6,
       version = version + 1, updated_at = now()
 WHERE id = $1;

-- name: delete_pipeline
-- Nothing new matches it; what it did stays readable, and its name is free again. $1 pipeline.
UPDATE pipeline_configs SET deleted_at = now(), version = version + 1, updated_at = now() WHERE id = $1;

-- name: list_revisions
-- $1 pipeline, $2 before this id, $3 how many.
SELECT id, number, yaml_config, created_by, created_at FROM pipeline_revisions
 WHERE pipeline_config_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;
