"""The directory that `errbot.__file__` names. Its `config-template.py` is the configuration with every setting."""
