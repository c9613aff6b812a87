"""`errbot.bootstrap.CORE_BACKENDS`: a .plug file and a module for each network that errklein brings.

Tools enumerate the directory. The bot itself makes these networks in `errklein.wiring`, since they need a reactor.
"""
