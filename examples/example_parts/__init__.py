"""Parts that the examples share: folders, networks, training, configuration, pictures."""
