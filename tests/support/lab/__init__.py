"""An outage lab: a laptop, two routers and a server in network namespaces of a test's own. Linux, as root.

The namespaces have no names: they vanish with the processes in them, and nothing outside changes.
"""
