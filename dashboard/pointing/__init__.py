"""Two light elements that report what the reader points at: a place on a picture, a layer of a network."""
