-- What asked a job to stop, so that its history names it when the attempt has ended.

ALTER TABLE jobs ADD COLUMN cancel_cause text;  -- as in transitions: a run, a command, an event, the deadline
