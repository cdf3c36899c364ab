"""The object store of a device, its server and its updater."""
