"""``python -m rnncore`` is the command ``rnncore``."""

from rnncore.cli import main

if __name__ == "__main__":
    main(prog_name="rnncore")
