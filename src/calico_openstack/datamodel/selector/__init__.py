"""The selector language. Pure."""
