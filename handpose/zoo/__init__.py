"""Weight files: writing, checking and loading them."""
