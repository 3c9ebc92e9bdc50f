"""Programs for the Python that runs Jupyter on the host: they travel as text, and run on any from 3.6 on."""
