"""The kernels, which compute the sums on one kind of machine each. README.md: how to write one."""
