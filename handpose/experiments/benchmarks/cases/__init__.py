"""What is measured; `load_cases` runs every module."""
