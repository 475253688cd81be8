"""Tools for single networks: cost and accuracy, channel visualisation, and agreement with a converted file."""
