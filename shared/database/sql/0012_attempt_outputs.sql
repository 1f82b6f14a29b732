-- What the steps of an attempt wrote to $TOWPATH_OUTPUT, for the outputs of its job.

ALTER TABLE attempts ADD COLUMN outputs jsonb NOT NULL DEFAULT '{}';  -- {step id: {name: text}}
