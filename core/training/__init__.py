"""Training anyone can repeat: a configuration file in, weights and a model card with measured figures out.

``configuration`` what to train, ``data`` index.csv -> tensors, ``augmentation`` what varies, ``fitting`` the loop,
``measuring`` a model on every picture, ``evaluation`` the figures, ``curves`` the log as a picture,
``publishing`` the folder of the catalogue.
"""
