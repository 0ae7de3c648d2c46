"""How long a sync takes, and what it costs at least. `make bench` runs all of it."""
