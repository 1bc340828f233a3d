"""`python -m gemmbench` is the command line."""

from gemmbench.cli import main

if __name__ == "__main__":
    main()
