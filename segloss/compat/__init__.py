"""Interfaces of other systems, one file each, thin over the package's own losses.

Their names are importable from `segloss` itself; `docs/migrating.md` tells what becomes what.
"""
