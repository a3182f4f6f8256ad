"""From the user's batch to pixels: keys, selectors, mixup, partial labels, shapes, checks."""
