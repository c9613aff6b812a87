"""`.plug` files and modules of errklein's own backends, in the directory `errbot.bootstrap.CORE_BACKENDS`."""
