"""How fast `bsn.run` is, beside what a user would pick instead, measured in turns on this machine."""
