-- A delivery that was about no registered repository is decided again if the forge delivers it again after that.

ALTER TABLE deliveries ADD COLUMN redelivered_at timestamptz;  -- greater than decided_at of its outcome: to be decided again
CREATE INDEX deliveries_redelivered ON deliveries (id) WHERE redelivered_at IS NOT NULL;
