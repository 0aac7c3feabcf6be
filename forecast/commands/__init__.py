"""The commands: one module each; parse, call, show. Heavy imports wait until a command runs."""
