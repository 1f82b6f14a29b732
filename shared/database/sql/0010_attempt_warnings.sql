-- What people should know about how an attempt runs, such as that its job shares the network of its machine.

ALTER TABLE attempts ADD COLUMN warnings text[] NOT NULL DEFAULT '{}';
