"""`python -m docvault`."""

from docvault.cli import main

main()
