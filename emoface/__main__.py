"""``python -m emoface``."""

from emoface.cli import main

main()
