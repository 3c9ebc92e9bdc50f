"""Measures jtunnel against ssh and autossh on this machine, side by side in one run: `python -m bench`.

Judges nothing but ratios, and keeps no history.
"""
