"""Measures the whole system on this machine, side by side with Buildbot, and reports ratios: `python -m bench
[B1,B2,B4,B5]`.
"""
