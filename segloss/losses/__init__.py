"""Losses of (prediction, target), for loops that know nothing of batches."""
