"""Run the command line: `python -m docvault`."""

from docvault.cli.main import main

main()
