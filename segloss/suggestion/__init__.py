"""Losses suggested for a dataset: its masks are read, and a config comes out, with reasons."""

from segloss.suggestion.advice import Advice, Note
from segloss.suggestion.statistics import ClassStatistics, Statistics
from segloss.suggestion.suggest import Suggestion, suggest

__all__ = ["Advice", "ClassStatistics", "Note", "Statistics", "Suggestion", "suggest"]
