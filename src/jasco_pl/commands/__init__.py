"""One module a subcommand of `jasco`: each has HELP, add_arguments(parser) and run(args) -> exit code."""
