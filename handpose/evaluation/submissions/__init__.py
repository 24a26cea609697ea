"""Official submission files of the datasets, and their scores."""
