"""`python -m npool.cli`: the same as the `npool` command."""

from npool.cli import main

if __name__ == "__main__":
    main()
