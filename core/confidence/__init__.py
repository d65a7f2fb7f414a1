"""How far an answer can be trusted: calibrated scores, sets of answers, thresholds at a prevalence, novelty, stability."""
