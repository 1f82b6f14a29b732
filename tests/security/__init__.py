"""Tests of attacks by outsiders, ordinary users and user code.

They use only loopback, and are bounded in count and time.
"""
