"""From the numbers of a file to a mask: colours, one-hot arrays, blurred masks, and checks."""
