"""The gallery of the documentation: what each image shows, and how it is made."""
