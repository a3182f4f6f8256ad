"""Tools around losses: checks, suggestions, plots, and the command line.

No other part of the package imports them.
"""
