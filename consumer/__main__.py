"""`python -m consumer`, where the `viewer-consumer` command is not on the PATH."""

from consumer.cli.main import main

if __name__ == "__main__":
    main()
