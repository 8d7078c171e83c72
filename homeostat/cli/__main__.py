"""`python -m homeostat.cli`: the command line without its entry point's script."""

from homeostat.cli import main

if __name__ == "__main__":
    main()
