"""Own recordings: a folder of predictions files, and a list of the actions in them."""
