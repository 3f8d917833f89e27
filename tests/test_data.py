"""Datasets, samplers, the DataLoader and its collation, the IDX reader."""
import gzip
import threading
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx_files import CODES, idx, mnist_files

import tinygrad_ed as tg
import tinygrad_ed.utils.data
from tinygrad_ed import data
from tinygrad_ed.errors import ShapeError

Pair = namedtuple("Pair", "x y")


class Squares(data.Dataset):
    """i² for i below n, as plain numbers."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


class Stream(data.IterableDataset):
    """The numbers below n, one after the other."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def generator(seed=0):
    return tg.Generator().manual_seed(seed)


# -- datasets ----------------------------------------------------------------------------------------------------------

def test_the_package_has_pytorchs_name_too():
    assert tinygrad_ed.utils.data.DataLoader is data.DataLoader and set(data.__all__) <= set(dir(tinygrad_ed.utils.data))


def test_tensor_dataset():
    x, y = tg.arange(6).reshape(3, 2), tg.tensor([5, 6, 7])
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 3 and [t.tolist() for t in dataset[1]] == [[2, 3], 6] and len(list(dataset)) == 3
    for bad in ([x, tg.ones(2)], [tg.tensor(1.0)], []):
        with pytest.raises(ShapeError):
            data.TensorDataset(*bad)
    with pytest.raises(TypeError, match="tinygrad_ed.tensor"):
        data.TensorDataset(np.ones(3))


def test_concat_subset_and_chain():
    both = Squares(2) + Squares(3)
    assert [both[i] for i in range(5)] == [0, 1, 0, 1, 4] and both[-1] == 4 and len(both) == 5
    with pytest.raises(IndexError):
        both[5]
    with pytest.raises(ValueError):
        data.ConcatDataset([Stream(2)])
    with pytest.raises(ValueError):
        data.ConcatDataset([])
    part = data.Subset(Squares(9), [8, 2])
    assert [part[0], part[1], len(part)] == [64, 4, 2]
    assert list(Stream(2) + Stream(1)) == [0, 1, 0]
    with pytest.raises(NotImplementedError):
        data.Dataset()[0]


@given(n=st.integers(0, 40), parts=st.lists(st.integers(0, 10), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_random_split_is_a_partition(n, parts, seed):
    total = sum(parts)
    subsets = data.random_split(range(total), parts, generator(seed))
    assert [len(s) for s in subsets] == parts and sorted(i for s in subsets for i in s.indices) == list(range(total))
    if total:
        fractions = [k / total for k in parts]
        split = data.random_split(range(n), fractions, generator(seed))
        assert sum(map(len, split)) == n and all(abs(len(s) - f * n) <= len(parts) for s, f in zip(split, fractions))
        again = data.random_split(range(n), fractions, generator(seed))
        assert [s.indices for s in split] == [s.indices for s in again]


@pytest.mark.parametrize("lengths", [[2, 2], [0.5, 0.7, -0.2], [6, -1], [2.5, 2.5]])
def test_random_split_refuses(lengths):
    with pytest.raises(ValueError):
        data.random_split(range(5), lengths)


# -- samplers ----------------------------------------------------------------------------------------------------------

def test_samplers():
    ten = range(10)
    assert list(data.SequentialSampler(ten)) == list(ten) and len(data.SequentialSampler(ten)) == 10
    a, b = (list(data.RandomSampler(ten, generator=generator(4))) for _ in range(2))
    assert a == b and sorted(a) == list(ten) and a != list(ten)
    sampler = data.RandomSampler(ten, generator=generator(4))
    assert list(sampler) != list(sampler)
    assert len(list(data.RandomSampler(ten, num_samples=25))) == 25 and len(list(data.RandomSampler(ten, replacement=True, num_samples=3))) == 3
    assert sorted(data.RandomSampler(ten, num_samples=20)) == sorted([*ten, *ten])
    assert sorted(data.SubsetRandomSampler([3, 1, 8])) == [1, 3, 8] and len(data.SubsetRandomSampler([3, 1])) == 2
    assert list(data.BatchSampler(ten, 4, True)) == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(data.BatchSampler(ten, 4, False)) == 3
    for bad in (lambda: data.BatchSampler(ten, 0, True), lambda: data.RandomSampler(ten, num_samples=-1), lambda: data.BatchSampler(ten, 1, 3)):
        with pytest.raises(ValueError):
            bad()


def test_weighted_sampler():
    weights = [0.0, 1.0, 3.0]
    drawn = list(data.WeightedRandomSampler(weights, 4000, generator=generator()))
    assert set(drawn) == {1, 2} and abs(drawn.count(2) / 4000 - 0.75) < 0.03
    assert sorted(data.WeightedRandomSampler(tg.tensor([1.0, 0.0, 1.0]), 2, replacement=False)) == [0, 2]
    for bad in ([-1.0, 1.0], [0.0, 0.0], [float("nan")], [[1.0]]):
        with pytest.raises(ValueError):
            data.WeightedRandomSampler(bad, 1)
    for count in (0, 3):
        with pytest.raises(ValueError):
            data.WeightedRandomSampler(weights, count, replacement=False)


# -- the loader --------------------------------------------------------------------------------------------------------

@given(n=st.integers(0, 13), size=st.integers(1, 6), drop=st.booleans(), shuffle=st.booleans(), workers=st.sampled_from([0, 2]))
def test_every_sample_comes_once(n, size, drop, shuffle, workers):
    for dataset in (data.TensorDataset(tg.arange(n), tg.arange(n) * 2), [(i, 2 * i) for i in range(n)]):
        loader = data.DataLoader(dataset, batch_size=size, shuffle=shuffle, drop_last=drop, num_workers=workers, generator=generator(1))
        batches = [[t.tolist() for t in batch] for batch in loader]
        seen = [i for x, _ in batches for i in x]
        assert len(batches) == len(loader) and all(y == [2 * i for i in x] for x, y in batches)
        assert sorted(seen) == list(range(n)) if not drop else len(set(seen)) == len(seen) == n - n % size
        again = data.DataLoader(dataset, batch_size=size, shuffle=shuffle, drop_last=drop, generator=generator(1))
        assert [[t.tolist() for t in batch] for batch in again] == batches


def test_the_default_generator_orders_too():
    orders = []
    for _ in range(2):
        tg.manual_seed(5)
        loader = data.DataLoader(range(20), batch_size=20, shuffle=True)
        orders.append([next(iter(loader)).tolist(), next(iter(loader)).tolist()])
    assert orders[0] == orders[1] and orders[0][0] != orders[0][1]


def test_the_fast_path_is_the_slow_path():
    whole = data.TensorDataset(tg.randn(7, 3), tg.arange(7), tg.tensor([True, False] * 3 + [True]))
    for dataset in (whole, data.Subset(whole, [6, 2, 2, 0]), data.Subset(data.Subset(whole, [6, 2, 2, 0]), [1, 3])):
        fast = list(data.DataLoader(dataset, batch_size=3))
        slow = list(data.DataLoader([dataset[i] for i in range(len(dataset))], batch_size=3))
        for a, b in zip(fast, slow):
            assert [(t.dtype, t.shape, t.tolist()) for t in a] == [(t.dtype, t.shape, t.tolist()) for t in b]
    x = tg.ones(4, 2, requires_grad=True)
    batch, = next(iter(data.DataLoader(data.TensorDataset(x), batch_size=3)))
    batch.sum().backward()
    assert x.grad.tolist() == [[1, 1]] * 3 + [[0, 0]]
    for a, b in zip(whole.tensors, next(iter(data.DataLoader(whole, batch_size=7)))):
        assert a.data is not b.data and not np.shares_memory(a.data, b.data)


def test_samplers_and_batch_samplers_of_ones_own():
    assert [b.tolist() for b in data.DataLoader(range(9), batch_size=2, sampler=[4, 1, 7])] == [[4, 1], [7]]
    assert [b.tolist() for b in data.DataLoader(range(9), batch_sampler=[[3], [1, 2]])] == [[3], [1, 2]]
    assert list(data.DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert list(data.DataLoader(Squares(3), batch_size=2, collate_fn=tuple)) == [(0, 1), (4,)]


def test_streams():
    assert [b.tolist() for b in data.DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in data.DataLoader(Stream(5), batch_size=2, drop_last=True, num_workers=2)] == [[0, 1], [2, 3]]
    assert list(data.DataLoader(Stream(2), batch_size=None)) == [0, 1]
    with pytest.raises(TypeError):
        len(data.DataLoader(Stream(5)))


def test_a_dataset_that_fetches_batches_itself():
    class Batched(Squares):
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert [b.tolist() for b in data.DataLoader(Batched(3), batch_size=2)] == [[0, -1], [-2]]


@pytest.mark.parametrize("options", [
    dict(batch_size=0), dict(num_workers=-1), dict(prefetch_factor=0), dict(shuffle=True, sampler=[1]), dict(batch_sampler=[[1]], batch_size=2),
    dict(batch_sampler=[[1]], shuffle=True), dict(batch_size=None, drop_last=True)])
def test_options_that_exclude_each_other(options):
    with pytest.raises(ValueError):
        data.DataLoader(Squares(3), **options)
    with pytest.raises(ValueError, match="IterableDataset"):
        data.DataLoader(Stream(3), shuffle=True)


def test_workers_are_numbered_and_classes_can_be_annotated():
    class Typed(data.Dataset[int], data.Sampler[int]):
        pass

    started = []
    assert len(list(data.DataLoader(Squares(8), num_workers=2, worker_init_fn=started.append, persistent_workers=True))) == 8
    assert started in ([0], [0, 1], [1, 0])


def test_workers_raise_the_datasets_errors_and_stop_when_left():
    class Broken(Squares):
        def __getitem__(self, i):
            if i == 3:
                raise KeyError("sample 3")
            return i

    loader = data.DataLoader(Broken(9), batch_size=1, num_workers=2)
    with pytest.raises(KeyError, match="sample 3"):
        list(loader)
    before = threading.active_count()
    iterator = iter(data.DataLoader(Squares(100), batch_size=1, num_workers=3))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_collate():
    collate = data.default_collate
    assert collate([1, 2]).dtype == tg.int64 and collate([1.5, 2.5]).dtype == tg.float64 and collate([True, False]).dtype == tg.bool
    assert collate([np.float32(1), np.float32(2)]).dtype == tg.float32 and collate([np.ones((2, 3), "f")] * 4).shape == (4, 2, 3)
    assert collate(["a", "b"]) == ["a", "b"] and collate([b"a"]) == [b"a"]
    pair = collate([Pair(1, "a"), Pair(2, "b")])
    assert isinstance(pair, Pair) and pair.x.tolist() == [1, 2] and pair.y == ["a", "b"]
    nested = collate([{"x": (tg.ones(2), [1, 2])}, {"x": (tg.zeros(2), [3, 4])}])
    assert nested["x"][0].tolist() == [[1, 1], [0, 0]] and [t.tolist() for t in nested["x"][1]] == [[1, 3], [2, 4]]
    for bad, error in [([tg.ones(2), tg.ones(3)], ShapeError), ([[1], [1, 2]], ShapeError), ([object()], TypeError), ([None], TypeError),
                       ([np.array(["a"])], TypeError)]:
        with pytest.raises(error, match="collate_fn"):
            collate(bad)


# -- IDX files ---------------------------------------------------------------------------------------------------------

@given(code=st.sampled_from(list(CODES)), shape=st.lists(st.integers(0, 4), min_size=1, max_size=3), packed=st.booleans(), seed=st.integers(0, 99))
def test_idx_round_trip_and_every_truncation_is_noticed(tmp_path_factory, code, shape, packed, seed):
    path = tmp_path_factory.mktemp("idx") / "file"
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(code)
    content = idx(array)
    write = (lambda b: path.write_bytes(gzip.compress(b))) if packed else path.write_bytes
    write(content)
    found = data.read_idx(path)
    assert found.dtype == array.dtype and found.dtype.isnative and np.array_equal(found, array) and found.flags.writeable
    for bad in (content[:seed % len(content)], content + b"x", b"\x01" + content[1:], content[:2] + b"\x07" + content[3:]):
        write(bad)
        with pytest.raises(ValueError, match="file"):
            data.read_idx(path)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "file.gz"
    content = gzip.compress(idx(np.arange(100, dtype="i4")))
    for bad in (content[:-9], content[:20] + bytes([content[20] ^ 255]) + content[21:], content[:2]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged"):
            data.read_idx(path)
    with pytest.raises(FileNotFoundError):
        data.read_idx(tmp_path / "nothing")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(tmp_path, suffix):
    mnist_files(tmp_path, suffix=suffix)
    parts = data.read_mnist(tmp_path)
    assert parts["train"][0].shape == (5, 4, 4) and parts["test"][1].shape == (3,)
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(idx(np.zeros((4, 4, 4), "u1")))
    with pytest.raises(ValueError, match="4 train images and 5 labels"):
        data.read_mnist(tmp_path)
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(idx(np.zeros((5, 16), "u1")))
    with pytest.raises(ValueError, match="expected train images"):
        data.read_mnist(tmp_path)
    (tmp_path / f"train-images-idx3-ubyte{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        data.read_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such directory"):
        data.read_mnist(tmp_path / "nothing")
