"""Names of arguments and losses, and those that mean the same in other libraries."""
