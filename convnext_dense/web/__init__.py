"""Models behind HTTP: a page for people, an endpoint for programs; needs the extra ``web``."""
