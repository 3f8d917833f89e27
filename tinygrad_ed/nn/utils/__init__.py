"""Tools for the parameters of modules."""
