"""Losses suggested for a dataset: its masks are read, and a config comes out, with reasons."""

from segloss.tools.suggest.advice import Advice, Note
from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics
from segloss.tools.suggest.suggestion import Suggestion, suggest

__all__ = ["Advice", "ClassStatistics", "DatasetStatistics", "Note", "Suggestion", "suggest"]
