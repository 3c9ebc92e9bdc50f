"""Edits of the user's config file that leave all the rest of it as it is."""
