-- The order of events whose times are equal: an event that goes on where another one ended is the newer of the two.

CREATE INDEX events_following ON events (repository_id, before_sha) WHERE before_sha IS NOT NULL;
