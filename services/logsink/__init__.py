"""The log sink: keeps every line that a container wrote, once, in order, masked, and seals the log when it is
complete.
"""
