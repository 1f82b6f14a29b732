-- The trace (W3C `traceparent`) of a webhook or of a user's request, so that reconcilers continue it too.
--
-- NULL: stored by an earlier release, which does not know the column. Such a row has no trace.

ALTER TABLE deliveries ADD COLUMN traceparent text;  -- of the request that delivered it last
ALTER TABLE commands ADD COLUMN traceparent text;  -- of the user's request
ALTER TABLE pipeline_runs ADD COLUMN traceparent text;  -- of its delivery; of a retry: of its command
ALTER TABLE attempts ADD COLUMN traceparent text;  -- of its run
