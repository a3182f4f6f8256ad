"""Mixtures of terms: the value, other ways to write it, and its evaluation on a batch."""

from segloss.terms.mixture.mixture import Entry, Mixture

__all__ = ["Entry", "Mixture"]
