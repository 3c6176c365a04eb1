"""`python -m flows.cli`, the same as `ssvh`."""

from flows.cli.app import main

if __name__ == "__main__":
    main()
