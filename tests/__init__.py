"""jtunnel's tests: `unit` for one module, `integration` against real peers, `e2e` for the whole."""
