"""From a message to its answer: which command it is, whether it may run, what is said, and what may follow."""
