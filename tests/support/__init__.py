"""Parts that the tests share: formulas from books, batches, kernels, ranks."""
