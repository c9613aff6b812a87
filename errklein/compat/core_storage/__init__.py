"""`errbot.bootstrap.CORE_STORAGE`: a .plug file and a module for each storage that errklein brings.

Tools enumerate the directory, and `BackendPluginManager` loads a storage from it.
"""
