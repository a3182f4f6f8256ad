"""Cases of the peers' suites that can't be said with segloss, each with its reason."""

INEXPRESSIBLE: dict[str, str] = {}
