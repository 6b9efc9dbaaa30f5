"""From chapters to the site, and the `bsn` command."""
