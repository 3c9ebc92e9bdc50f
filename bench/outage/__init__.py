"""Measures how soon a tunnel works again after an outage: jtunnel, autossh and ssh under the same faults.

The network is the tests' outage lab (`tests.support.lab`): namespaces on this machine, which needs root.
"""
