"""Ways of mixing the images of a batch, with their targets."""
