"""Training anyone can repeat: a configuration file in, weights and a model card with measured figures out.

``configuration`` what to train, ``data`` index.csv -> tensors, ``augmentation`` what varies, ``fitting`` the loop,
``evaluation`` the figures, ``publishing`` the folder of the catalogue.
"""
