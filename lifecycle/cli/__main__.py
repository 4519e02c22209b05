"""`python -m lifecycle.cli`: the same as `tandem`."""

from lifecycle.cli.app import main

main()
