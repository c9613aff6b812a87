"""errklein as a whole, as its users meet it: real processes, sockets and chat servers, and no mercy.

Each scenario is a module with a function that runs it and returns what was measured. Tests run it in small, and the
scripts in benchmarks/ in full; both judge by `problems`, one sentence for each thing that doesn't hold.
"""
