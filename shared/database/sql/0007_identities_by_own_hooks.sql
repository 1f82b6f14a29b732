-- What a repository's own webhook secret taught counts for that hook alone: maintainers can sign any body.

ALTER TABLE repository_identities ADD COLUMN by_own_hook boolean NOT NULL DEFAULT false;
