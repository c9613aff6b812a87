"""The directory of `errbot.__file__`. `config-template.py` in it is a configuration with every setting."""

__all__: list[str] = []
