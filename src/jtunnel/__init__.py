"""jtunnel: keeps a remote Jupyter server at a local address, through sleep and network changes."""

__version__ = "0.1.0"
