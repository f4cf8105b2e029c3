"""What is wrong with images, annotations and settings, found before any long work."""
