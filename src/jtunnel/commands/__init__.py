"""The commands that may use every library; each is imported only when it is called."""
