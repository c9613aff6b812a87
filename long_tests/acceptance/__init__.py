"""Acceptance tests of errklein as a whole, with real processes, sockets and chat servers.

Each scenario is a module with a function that runs it and returns the measured figures. Tests check `problems`, which
returns a line for each failed expectation.
"""
