"""Linear algebra, under PyTorch's names: `tinygrad_ed.linalg.inv`, `svd`, `solve`…"""
