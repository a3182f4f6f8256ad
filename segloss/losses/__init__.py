"""Losses of batches, with norms, and of (prediction, target); sums of several, and wrappers."""
