-- The outputs of the steps of an attempt, by step and name, as far as the outputs of its job need them.

ALTER TABLE attempts ADD COLUMN outputs jsonb NOT NULL DEFAULT '{}';
