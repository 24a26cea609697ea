# The writers of tiny datasets and hand models that other tests use.
