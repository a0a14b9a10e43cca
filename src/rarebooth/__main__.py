"""``python -m rarebooth``."""

from rarebooth.cli import main

if __name__ == "__main__":
    main()
