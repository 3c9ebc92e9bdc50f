"""Those who are compared: jtunnel, ssh and autossh, each started as a person would."""
