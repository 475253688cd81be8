"""Results of a run: its folder, its tables, and the statistics on them."""
