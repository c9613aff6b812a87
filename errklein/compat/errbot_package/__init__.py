"""The directory that `errbot.__file__` refers to, with config-template.py, a configuration with every setting."""
