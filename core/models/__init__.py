"""Models: networks with a card that says what they are.

``card`` what a model says of itself, ``catalogue`` which there are, ``scope`` which fits a scan, ``architectures`` the
networks by name, ``weights`` checked tensors, ``loading`` card + weights -> Model.

Cards and catalogue need no torch, so a page can list models before torch is imported.
"""
