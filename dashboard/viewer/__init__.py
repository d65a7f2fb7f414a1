"""The picture of a scan, with or without its heatmap."""
