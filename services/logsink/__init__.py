"""The log sink: stores every line of a container's log once, in order and masked, and seals complete logs."""
