"""`python -m bonestrap` is the command `bonestrap`."""

from bonestrap.commands.main import main

if __name__ == "__main__":
    main()
