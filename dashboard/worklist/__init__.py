"""The parts of the worklist's page: adding cases, the background at work, the list, the row in front."""
