"""Examples of batches on which losses are checked, timed and drawn."""
