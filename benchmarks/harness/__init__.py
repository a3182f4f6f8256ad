"""Parts that the benchmarks share: contenders, measurements on each device, reports."""
