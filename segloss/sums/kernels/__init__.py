"""The kernels, each computing the sums on one kind of machine. README.md: how to write one."""
