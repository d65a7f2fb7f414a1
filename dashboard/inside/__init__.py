"""The parts of the Network page, each a view of one recording of the case in front."""
