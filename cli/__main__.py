"""``python -m navarch.cli``."""

from navarch.cli.main import main

main()
