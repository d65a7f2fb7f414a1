"""How we agree: readers with the network and with one another, changes of mind, time, drift of scores, the reader study."""
