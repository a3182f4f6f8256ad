"""Interfaces of other systems, as thin layers over segloss's losses: a module or folder each.

The names of other systems are here and only here; `docs/migrating.md` lists their equivalents.
"""
