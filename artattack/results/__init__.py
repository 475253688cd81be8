"""What a run leaves: its folder, its tables, and what they say."""
