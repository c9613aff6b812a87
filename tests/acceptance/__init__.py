"""Acceptance tests of errklein as a whole, with real processes, sockets and chat servers.

Each scenario is a module with a function that runs it and returns the measured figures. Tests run it with small
numbers, and the scripts in benchmarks/ with large ones. Both check `problems`, which returns a line for each failed
expectation.
"""
