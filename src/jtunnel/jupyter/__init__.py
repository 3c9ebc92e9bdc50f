"""The remote Jupyter server: find it, start it, ask it, stop it. Knows a Remote, not SSH."""
