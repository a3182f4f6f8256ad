"""Suggests a loss for a dataset: reads its masks, and returns a config with reasons."""

from segloss.foundation.installation.extras import needs

with needs("segloss.suggest", "suggest"):
    from segloss.tools.suggest.advice import Advice, Note
    from segloss.tools.suggest.statistics import ClassStatistics, DatasetStatistics
    from segloss.tools.suggest.suggestion import Suggestion, suggest

__all__ = ["Advice", "ClassStatistics", "DatasetStatistics", "Note", "Suggestion", "suggest"]
