"""The configuration: an errbot config.py with defaults filled in, the table of settings, and warnings."""

from errklein.config.loading import Config, load_config, secrets_of
from errklein.config.settings import ConfigError

__all__ = ["Config", "ConfigError", "load_config", "secrets_of"]
