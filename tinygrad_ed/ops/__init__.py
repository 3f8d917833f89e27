"""The mathematics, a family per file; each op is its forward expression and its derivative formulas."""
