"""`python -m forecaster`."""

from forecaster.cli.main import main

if __name__ == "__main__":
    main()
