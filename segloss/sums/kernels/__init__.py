"""The kernels: each computes the sums on one kind of machine. README.md says how to write one."""
