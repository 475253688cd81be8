"""One network: its cost and worth, what its channels respond to, and whether a converted file agrees with it."""
