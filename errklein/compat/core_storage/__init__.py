"""`.plug` files and modules of errklein's own storages, in the directory `errbot.bootstrap.CORE_STORAGE`."""
