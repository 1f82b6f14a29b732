-- name: insert_pipeline
-- $1 name, $2 description, $3 YAML, $4 repository keys, $5 enabled, $6 owner. No row: the owner has a
-- pipeline of that name.
INSERT INTO pipeline_configs (name, description, yaml_config, repository_keys, enabled,
       created_by) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING id, revision;

-- name: usable_repositories
-- The names, registered and current, of repositories for which a user's pipelines may run; those asked for
-- first. $1 user, $2 names in lower case, $3 owners of globs in lower case.
SELECT r.full_name, i.full_name AS current_name
  FROM users u CROSS JOIN repositories r LEFT JOIN repository_identities i ON i.repository_id = r.id
 WHERE u.id = $1 AND r.deleted_at IS NULL
   AND (u.is_admin OR EXISTS (SELECT FROM grants g WHERE g.repository_id = r.id AND g.user_id = u.id
          AND g.role = 'maintainer'))
 ORDER BY lower(r.full_name) = ANY($2::text[]) OR coalesce(lower(i.full_name) = ANY($2::text[]), false)
          OR split_part(lower(coalesce(i.full_name, r.full_name)), '/', 1) = ANY($3::text[]) DESC, r.id DESC
 LIMIT 2000;

-- name: insert_revision
-- Keep what a pipeline says from here on, and make it the newest. $1 pipeline, $2 number, $3 YAML, $4 model,
-- $5 user.
WITH new AS (
  INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by) VALUES ($1, $2,
         $3, $4, $5) RETURNING id)
UPDATE pipeline_configs SET revision_id = new.id, revision = $2 FROM new WHERE pipeline_configs.id = $1;

-- name: one_pipeline
-- A pipeline that is not deleted, where the user may see it; model: the repositories, triggers and
-- concurrency of its YAML. $1 pipeline, $2 user, $3 administrator.
SELECT c.id, c.name, c.description, c.yaml_config, c.enabled, c.revision, c.revision_id, c.version,
  c.created_by, c.created_at, c.updated_at,
       jsonb_build_object(
         'repositories', v.model -> 'repositories', 'on', v.model -> 'on', 'concurrency',
           v.model -> 'concurrency'
       ) AS model
  FROM pipeline_configs c LEFT JOIN pipeline_revisions v ON v.id = c.revision_id
 WHERE c.id = $1 AND c.deleted_at IS NULL AND ($3 OR c.created_by = $2);

-- name: lock_pipeline
-- A pipeline as above, held until the transaction ends.
SELECT id, name, description, yaml_config, enabled, revision, revision_id, version, created_by, created_at,
  updated_at
  FROM pipeline_configs WHERE id = $1 AND deleted_at IS NULL AND ($3 OR created_by = $2) FOR UPDATE;

-- name: list_pipelines
-- $1 user, $2 administrator, $3 before this id, $4 how many, $5 name.
SELECT id, name, description, enabled, revision, version, created_by, created_at, updated_at
  FROM pipeline_configs
 WHERE deleted_at IS NULL AND ($2 OR created_by = $1) AND id < $3 AND ($5::text IS NULL OR name = $5)
 ORDER BY id DESC LIMIT $4;

-- name: change_pipeline
-- $1 pipeline, $2 name, $3 description, $4 YAML, $5 repository keys (NULL: as they are), $6 enabled.
UPDATE pipeline_configs SET name = $2, description = $3, yaml_config = $4,
  repository_keys = coalesce($5, repository_keys), enabled = $6,
       version = version + 1, updated_at = now()
 WHERE id = $1;

-- name: delete_pipeline
-- Nothing new matches it; what it did stays readable, and its name is free again. $1 pipeline.
UPDATE pipeline_configs SET deleted_at = now(), version = version + 1, updated_at = now() WHERE id = $1;

-- name: list_revisions
-- $1 pipeline, $2 before this id, $3 how many.
SELECT id, number, yaml_config, created_by, created_at FROM pipeline_revisions
 WHERE pipeline_config_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3;
