"""Inputs of a run: images, labels, styles, image sets and their paths."""
