"""The folder that nnU-Net searches for trainers. It imports each file as a module of its own."""
