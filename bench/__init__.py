"""Benchmarks of the whole system against Buildbot on this machine: `python -m bench [B1,B2,B4,B5]`.

They report ratios.
"""
