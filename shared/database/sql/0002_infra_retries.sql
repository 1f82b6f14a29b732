-- Jobs whose attempt the cluster lost are tried again: they go back to the queue, and wait out a pause before they are admitted.

ALTER TABLE jobs ADD COLUMN retry_at timestamptz;  -- not admitted before; the wanted attempt is the next one
-- The end of the next pause, read at each admission.
CREATE INDEX jobs_to_retry ON jobs (retry_at) WHERE status = 'pending' AND admitted_at IS NULL AND retry_at IS NOT NULL;
