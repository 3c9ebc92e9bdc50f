"""What the tests stand on: real SSH servers, accounts, homes, and the installed programs. Holds no tests."""
