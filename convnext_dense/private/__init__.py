"""Names that other libraries call their own and that this one relies on, one module a library."""
