"""`python -m ehg_migrate` is `ehg-migrate`."""

from ehg_migrate.cli import main

if __name__ == "__main__":
    main()
