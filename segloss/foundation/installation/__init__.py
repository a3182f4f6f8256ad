"""The installation: optional packages, and files of another distribution in this package."""
