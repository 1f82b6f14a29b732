"""Proof under faults: crash points walked one by one, random faults under load, and planted errors that must
be found.
"""
