"""The command `stnas`: one file for each sub-command, which parses and prints."""
