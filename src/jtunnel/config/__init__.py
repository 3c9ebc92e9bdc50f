"""The config file: TOML in, profiles out."""
