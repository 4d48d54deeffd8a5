"""The subcommands of `bonestrap`: one module each, and `main`, which starts them."""
