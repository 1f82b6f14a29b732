-- The files that a push of a branch changed, for path filters. Both NULL: an event without files, or one that an
-- earlier release stored.

ALTER TABLE events ADD COLUMN changed_files jsonb;  -- names; NULL with files_unknown: the list is not complete
ALTER TABLE events ADD COLUMN files_unknown text;  -- why, such as `forced`

ALTER TABLE decisions DROP CONSTRAINT decisions_outcome_check;
ALTER TABLE decisions ADD CONSTRAINT decisions_outcome_check CHECK (outcome IN
  ('run', 'not_matched', 'filtered', 'skipped', 'untrusted', 'superseded', 'not_allowed')) NOT VALID;
