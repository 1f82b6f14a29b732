"""Attacks by strangers, ordinary users and user code, each as a test.

They use loopback alone, and are bounded in count and time.
"""
