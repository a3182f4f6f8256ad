"""What computes the sums: one kernel for each kind of machine. README.md says how to write one."""
