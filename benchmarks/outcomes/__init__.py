"""Parts of the study of outcomes: data, training, scores, report."""
