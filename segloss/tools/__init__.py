"""Tools around losses: checks, suggestions, plots, and the command line. Nothing imports them."""
