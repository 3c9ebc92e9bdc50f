"""`python -m jtunnel`: the same as the `jtunnel` command."""

from jtunnel.client.cli import main

raise SystemExit(main())
