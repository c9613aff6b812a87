"""The directory that `errbot.__file__` refers to.

It has the file config-template.py, a configuration with every setting.
"""
