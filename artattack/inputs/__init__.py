"""What a run reads: images, labels, styles, image sets, and where they lie."""
