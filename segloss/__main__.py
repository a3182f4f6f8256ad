"""`python -m segloss`: the same as the command `segloss`."""

from segloss.tools.cli import main

if __name__ == "__main__":
    main()
