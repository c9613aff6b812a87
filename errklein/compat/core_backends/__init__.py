"""`.plug` files and modules of errklein's own backends. Tools find them by the directory
`errbot.bootstrap.CORE_BACKENDS`."""
