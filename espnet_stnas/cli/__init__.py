"""The command `stnas`: each file parses and prints for one sub-command."""
