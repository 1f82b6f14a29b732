-- part: circumstances
ARRAY[coalesce(i.full_name, r.full_name), r.full_name] AS names,
  (SELECT max(c.happened_at) FROM events c
    WHERE c.repository_id = e.repository_id AND c.pull_request = e.pull_request AND c.action = 'closed'
      AND c.created_at <= e.created_at) AS closed_at

-- part: with_identity
JOIN repositories r ON r.id = e.repository_id AND r.deleted_at IS NULL
  LEFT JOIN repository_identities i
    ON i.repository_id = r.id AND coalesce(r.forge_id = i.forge_id, true)
   AND NOT EXISTS (SELECT FROM repositories other
                    WHERE other.forge = i.forge AND other.forge_id = i.forge_id
                      AND other.id <> i.repository_id AND other.deleted_at IS NULL)

-- part: owner_may_use
u.disabled_at IS NULL AND (u.is_admin OR EXISTS (
  SELECT FROM grants g WHERE g.repository_id = e.repository_id AND g.user_id = u.id
     AND g.role = 'maintainer'))

-- name: preview_events
-- Events with what a pipeline's decision depends on besides its YAML, and what was decided: either these, or
-- the newest of the repositories that the pipeline may name, where the user may see them. Closings count as
-- far as they were known when the event was stored. $1 user, $2 administrator, $3 owner of the pipeline,
-- $4 pipeline (NULL: none yet), $5 events (NULL: the newest), $6 keys of repositories, $7 how many.
SELECT e.*, :circumstances, :owner_may_use AS owner_may_use, c.outcome, c.reasons, c.revision_id, c.run_id
  FROM (SELECT * FROM events WHERE id = ANY($5::bigint[])
        UNION ALL
        SELECT newest.* FROM repositories k LEFT JOIN repository_identities n ON n.repository_id = k.id
         CROSS JOIN LATERAL (SELECT * FROM events o WHERE o.repository_id = k.id
                              ORDER BY o.id DESC LIMIT $7) AS newest
         WHERE $5 IS NULL AND k.deleted_at IS NULL
           AND ($2 OR EXISTS (SELECT FROM grants g WHERE g.repository_id = k.id AND g.user_id = $1))
           AND ARRAY[lower(k.full_name), split_part(lower(k.full_name), '/', 1) || '/', lower(n.full_name),
                     split_part(lower(n.full_name), '/', 1) || '/'] && $6::text[]) AS e
  :with_identity
  JOIN users u ON u.id = $3
  LEFT JOIN decisions c ON c.event_id = e.id AND c.pipeline_config_id = $4
 WHERE $2 OR EXISTS (SELECT FROM grants g WHERE g.repository_id = e.repository_id AND g.user_id = $1)
 ORDER BY e.id DESC LIMIT $7;
