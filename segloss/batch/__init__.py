"""The steps from a user's batch to checked pixels: keys, selectors, mixup, partial labels."""
