"""The official folder structures of real datasets: each module says which files a sequence consists of."""
