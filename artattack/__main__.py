"""`python -m artattack` is the command `artattack`."""

from artattack.cli import main

if __name__ == "__main__":
    main()
