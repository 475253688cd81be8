"""From a plan to records: what is done to which image, by what, and what classifiers make of it."""
