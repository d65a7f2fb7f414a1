"""One file a page, each with render()."""
