"""Losses that need more than the sums of the pass: modules of (prediction, target).

Each has a pass of its own. A `LossWrapper` gives it batches.
"""
