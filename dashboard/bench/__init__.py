"""The parts of the Bench page: what layers are made of, to be tried on the scan in front."""
