"""The command `segloss`, as `python -m segloss`."""

from segloss.tools.cli import main

if __name__ == "__main__":
    main()
