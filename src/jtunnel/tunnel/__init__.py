"""The life of one tunnel: a link, its forwards and its Jupyter server."""
