"""Why the network answers as it does: ``gradcam`` is the fast path, signed evidence for every label from one pass."""
