"""``python3 -m espnet_stnas`` is the command ``stnas``."""

from espnet_stnas.cli.main import main

if __name__ == "__main__":
    main()
