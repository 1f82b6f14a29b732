"""What end-to-end tests stand on: a whole installation as processes, a client, signed payloads, and oracles
outside the system.
"""
