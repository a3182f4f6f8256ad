"""Batches: keys, channel selectors, mixup, partial labels, and checked tensors of pixels."""
