"""How long syncing and reading take: `make bench` writes the figures into docs/performance.md."""
