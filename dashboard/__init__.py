"""RadLens' pages: widgets in, core values out. Nothing here computes; nothing in core knows of it."""
