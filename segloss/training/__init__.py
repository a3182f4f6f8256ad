"""Losses in training loops: norms before the first step, and a folder for each trainer."""
