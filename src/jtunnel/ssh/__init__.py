"""Everything SSH, and the only importer of asyncssh."""
