"""`jtunnel setup`: the host's own Jupyter config, for servers that are started there by hand."""
