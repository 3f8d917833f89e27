"""Datasets, the order of their samples, and batches; also reachable as `utils.data`, as in PyTorch."""
from .dataset import ChainDataset, ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from .idx import read_idx, read_mnist
from .loader import DataLoader, default_collate
from .prefetch import Prefetcher
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

__all__ = ["BatchSampler", "ChainDataset", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "Prefetcher", "RandomSampler", "Sampler",
           "SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler", "default_collate",
           "random_split", "read_idx", "read_mnist"]
