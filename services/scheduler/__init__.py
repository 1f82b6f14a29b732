"""The scheduler: decides which runs an event starts, orders and admits their jobs, folds what executors
report.
"""
