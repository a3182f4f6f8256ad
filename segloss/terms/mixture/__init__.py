"""Mixtures of terms: the value, its other spellings, and its evaluation on a batch."""

from segloss.terms.mixture.mixture import Entry, Mixture

__all__ = ["Entry", "Mixture"]
