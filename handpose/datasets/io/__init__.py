"""What several dataset layouts share: label formats, packed images, checks of values."""
