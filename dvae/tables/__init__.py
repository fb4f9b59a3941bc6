"""The published tables: their rows, the runs these take, and what came out of them. `python -m dvae.tables`."""
