"""`.plug` files and modules of errklein's own storages. Tools find them by the directory
`errbot.bootstrap.CORE_STORAGE`."""
