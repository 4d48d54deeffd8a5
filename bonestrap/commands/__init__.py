"""The subcommands of `bonestrap`, one module each."""
