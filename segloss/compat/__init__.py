"""Other systems' interfaces, thin over the package's own losses: a module or folder each.

Their names are here and only here; `docs/migrating.md` says what becomes what.
"""
