"""Inside the network: ``feature_maps`` what each layer makes of the scan, ``filters`` the kernels it makes it with."""
