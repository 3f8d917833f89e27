"""Cases of `ops/matmul`."""
import numpy as np
from registry import call, case

from cases.activation import gelu
from tinygrad_ed.ops.matmul import linear, linear_gelu, linear_relu

V, M, S = np.arange(3.0), np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(2, 2, 3)


def sizes(d, n, least=0):
    """So many lengths, now and then 0."""
    return [d.integer(1, 4) if d.bool() else d.integer(least, 4) for _ in range(n)]


def batches(d):
    """Two shapes of batches that broadcast."""
    one = d.shape(max_dims=2, max_side=3, min_side=0)
    return (one, d.partner(one)) if d.bool() else (d.partner(one), one)


# -- matmul and linear -------------------------------------------------------------------------------------------------

BAD = (call(M, M), call(M, S), call(np.array(1.0), M), call(V, np.arange(4.0)), call(np.zeros((2, 2, 3)), np.zeros((3, 3, 2))),
       call(M, M.T.astype("float32")), call(M, M.T.astype(int)))


@case("matmul", numpy=np.matmul, analytic=True, bad=BAD)
def _(d):
    n, k, m = sizes(d, 3)
    first, second = batches(d)
    return call(d.array((*first, n, k)), d.array((*second, k, m)))


@case("matmul", numpy=np.matmul, analytic=True)
def _(d):
    """A stack and one matrix, on either side: folded into one product."""
    n, k, m = sizes(d, 3)
    batch = d.shape(min_dims=1, max_dims=2, min_side=0)
    return call(d.array((*batch, n, k)), d.array((k, m))) if d.bool() else call(d.array((n, k)), d.array((*batch, k, m)))


@case("matmul", numpy=np.matmul, analytic=True)
def _(d):
    """With vectors."""
    n, k = sizes(d, 2)
    batch = d.shape(max_dims=2, min_side=0)
    kind = d.pick(["both", "left", "right"])
    return call(d.array((*batch, n, k) if kind == "right" else (k,)), d.array((*batch, k, n) if kind == "left" else (k,)))


@case("matmul", numpy=np.matmul, order=0)
def _(d):
    return call(d.ints((2, 3)), d.ints((3, 4)))


def affine(x, weight, bias=0.0):
    return x @ weight.T + bias


@case("nn.functional.linear", op=linear, numpy=affine, analytic=True,
      bad=(call(M, M.T), call(M, M, np.zeros(3)), call(M, M.astype("float32")), call(np.array(1.0), M), call(M, V, np.zeros((2, 2))),
           call(V, V, np.zeros(3))))
def _(d):
    n, m = sizes(d, 2)
    x, weight = d.array((*d.shape(min_side=0), n)), d.array((m, n))
    return call(x, weight, d.array((m,))) if d.bool() else call(x, weight)


@case("nn.functional.linear", op=linear, numpy=affine, analytic=True, torch=lambda x, w, b=0.0: x @ w + b)
def _(d):
    """A single output without its dimension."""
    n, = sizes(d, 1)
    x = d.array((*d.shape(min_side=0), n))
    return call(x, d.array((n,)), d.array(())) if d.bool() else call(x, d.array((n,)))


def affine_relu(x, weight, bias=0.0):
    return np.maximum(affine(x, weight, bias), 0)


@case("nn.functional.linear_relu", op=linear_relu, numpy=affine_relu, kinks=lambda x, w, b=0.0: [affine(x, w, b)],
      torch=lambda x, w, b=0.0: (x @ w.T + b).relu(), bad=(call(M, M.T), call(M, M, np.zeros(3)), call(M, M.astype("float32"))))
def _(d):
    n, m = sizes(d, 2)
    x, weight = d.array((*d.shape(min_side=0), n)), d.array((m, n))
    return call(x, weight, d.array((m,) if d.bool() else (1,))) if d.bool() else call(x, weight)


@case("nn.functional.linear_relu", op=linear_relu, numpy=affine_relu, kinks=lambda x, w, b=0.0: [affine(x, w, b)],
      torch=lambda x, w, b=0.0: (x @ w + b).relu())
def _(d):
    """A single output without its dimension."""
    n, = sizes(d, 1)
    x = d.array((*d.shape(min_side=0), n))
    return call(x, d.array((n,)), d.array(())) if d.bool() else call(x, d.array((n,)))


def affine_gelu(x, weight, bias=0.0):
    return gelu(affine(x, weight, bias), "tanh")


def affine_gelu_of_torch(x, weight, bias=0.0):
    import torch
    return torch.nn.functional.gelu(x @ weight.T + bias, approximate="tanh")


@case("nn.functional.linear_gelu", op=linear_gelu, numpy=affine_gelu, analytic=True, torch=affine_gelu_of_torch,
      bad=(call(M, M.T), call(M, M, np.zeros(3)), call(M, M.astype("float32"))))
def _(d):
    n, m = sizes(d, 2)
    x, weight = d.array((*d.shape(min_side=0), n)), d.array((m if d.bool() else 8 * m, n))
    return call(x, weight, d.array(weight.shape[:1] if d.bool() else (1,))) if d.bool() else call(x, weight)


@case("nn.functional.linear_gelu", op=linear_gelu, numpy=affine_gelu, analytic=True, torch=lambda x, w, b=0.0: affine_gelu_of_torch(x, w[None], b)[..., 0])
def _(d):
    """A single output without its dimension."""
    n, = sizes(d, 1)
    x = d.array((*d.shape(min_side=0), n))
    return call(x, d.array((n,)), d.array(())) if d.bool() else call(x, d.array((n,)))


# -- products that insist on their dimensions --------------------------------------------------------------------------

@case("mm", numpy=np.matmul, analytic=True, bad=(call(M, V), call(S, M), call(M, M)))
def _(d):
    n, k, m = sizes(d, 3)
    return call(d.array((n, k)), d.array((k, m)))


@case("bmm", numpy=np.matmul, analytic=True, bad=(call(M, M.T), call(S, S[:1].mT), call(S, S)))
def _(d):
    b, n, k, m = sizes(d, 4)
    return call(d.array((b, n, k)), d.array((b, k, m)))


@case("mv", numpy=np.matmul, analytic=True, bad=(call(M, M), call(V, V), call(M.T, V)))
def _(d):
    n, k = sizes(d, 2)
    return call(d.array((n, k)), d.array((k,)))


for name in ("dot", "vdot"):
    @case(name, numpy=np.dot, analytic=True, bad=(call(M, V), call(V, np.arange(4.0)), call(np.array(1.0), V)))
    def _(d):
        k, = sizes(d, 1)
        return call(d.array((k,)), d.array((k,)))


@case("inner", numpy=np.inner, analytic=True, bad=(call(M, M.T),))
def _(d):
    k, = sizes(d, 1)
    return call(d.array((*d.shape(max_dims=2), k)), d.array((*d.shape(max_dims=2), k))) if d.bool() else call(d.array(), d.array(()))


for name in ("outer", "ger"):
    @case(name, numpy=np.outer, analytic=True, bad=(call(M, V), call(V, np.array(1.0))))
    def _(d):
        n, m = sizes(d, 2)
        return call(d.array((n,)), d.array((m,)))


@case("kron", numpy=np.kron, analytic=True)
def _(d):
    return call(d.array(d.shape(max_side=3)), d.array(d.shape(max_side=3)))


@case("chain_matmul", numpy=lambda *ms: np.linalg.multi_dot(ms) if len(ms) > 1 else ms[0], analytic=True,
      torch=lambda *ms: __import__("torch").linalg.multi_dot(ms) if len(ms) > 1 else ms[0], bad=(call(M, M), call(M, S), call()))
def _(d):
    n = sizes(d, d.integer(2, 6), least=1)
    return call(*[d.array((a, b)) for a, b in zip(n, n[1:])])


@case("cross", numpy=lambda a, b, dim: np.cross(a, b, axis=dim), analytic=True,
      bad=(call(M, V, 1), call(M, M, 0), call(M, M[:, :2], 1), call(M, M, 2)))
def _(d):
    shape = list(d.shape(min_dims=1))
    dim = d.dim(len(shape))
    shape[dim] = 3
    a, b = (d.array(tuple(1 if n != 3 and d.bool() else n for n in shape)) for _ in range(2))
    return call(a, b, dim)


@case("cross", numpy=lambda a, b: np.cross(a, b, axis=a.shape.index(3)), analytic=True, torch=None)     # PyTorch warns without dim
def _(d):
    shape = d.pick([(3,), (2, 3), (3, 3), (3, 1, 3), (4, 3, 2)])
    return call(d.array(shape), d.array(shape))


# -- sums with a product -----------------------------------------------------------------------------------------------

def plus(product):
    return lambda x, a, b, beta=1, alpha=1: (beta * x if beta else 0) + alpha * product(a, b)


def factors(d):
    """beta and alpha, or neither."""
    return dict(beta=d.pick([0, 1, 0.5, -2]), alpha=d.number()) if d.bool() else {}


def smaller(d, shape):
    """A shape that broadcasts to another."""
    return tuple(d.pick([1, n]) for n in shape[d.integer(0, len(shape)):])


@case("addmm", numpy=plus(np.matmul), analytic=True, bad=(call(np.zeros(5), M, M.T), call(np.zeros((1, 2, 2)), M, M.T), call(V, M, M)))
def _(d):
    n, k, m = sizes(d, 3)
    return call(d.array(smaller(d, (n, m))), d.array((n, k)), d.array((k, m)), **factors(d))


@case("addmv", numpy=plus(np.matmul), analytic=True, bad=(call(np.zeros(5), M, V), call(np.zeros((2, 2)), M, V), call(V, M, M)))
def _(d):
    n, k = sizes(d, 2, least=1)
    return call(d.array(smaller(d, (n,))), d.array((n, k)), d.array((k,)), **factors(d))


@case("addr", numpy=plus(np.outer), analytic=True, bad=(call(np.zeros(5), V, V), call(M, M, V)))
def _(d):
    n, m = sizes(d, 2)
    return call(d.array(smaller(d, (n, m))), d.array((n,)), d.array((m,)), **factors(d))


@case("baddbmm", numpy=plus(np.matmul), analytic=True, bad=(call(np.zeros(5), S, S.mT), call(M, M, M.T)))
def _(d):
    b, n, k, m = sizes(d, 4)
    return call(d.array(smaller(d, (b, n, m))), d.array((b, n, k)), d.array((b, k, m)), **factors(d))


@case("addbmm", numpy=plus(lambda a, b: (a @ b).sum(0)), analytic=True,
      bad=(call(np.zeros(5), S, S.mT), call(M, M, M.T), call(M, S, S)))
def _(d):
    b, n, k, m = sizes(d, 4)
    return call(d.array(smaller(d, (n, m))), d.array((b, n, k)), d.array((b, k, m)), **factors(d))


# -- Einstein's sums ---------------------------------------------------------------------------------------------------

EQUATIONS = """ij,jk->ik  ij,jk  ji,kj->ki  bij,bjk->bik  ...ij,...jk->...ik  bhqd,bhkd->bhqk  bqhd,bkhd->bhqk  bi,bi->b  i,i  i,j->ji  ij->ji
    ij->  ij->j  ii  ii->i  iij->ji  iii->i  ijij->ji  ijji  ij,jk,kl->il  ij,jk,kl,lm  bn,anm,bm->ba  i,i,i->i  i,j,k->kji  ij,->ij  ij,kl->
    ij,kj->k  ...ij->ij  ...i,...j  i...,i...->...  ii,ij,jj->ij  ba  bA,bc->Ac  abcd,cdef->feab  ab,ab->ba  bij,bj->ib  ,->  ...,...->...
    a,b,c,d->""".split() + [" i j , j k -> i k ", ""]


def operands(d, equation):
    """Shapes that fit an equation; a length of 1 is stretched now and then, and an ellipsis stands for 0 to 2 dimensions."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    length = {n: d.integer(0, 3) if d.integer(0, 9) == 0 else d.integer(1, 3) for n in sorted(set("".join(terms)))}
    batch = d.shape(max_dims=2, max_side=2)
    shapes = []
    for term in terms:
        stretched = {n for n in term if term.count(n) == 1 and d.integer(0, 7) == 0}
        before, dots, after = term.partition("...")
        hidden = batch[d.integer(0, len(batch)):] if dots else ()
        shapes.append((*(1 if n in stretched else length[n] for n in before), *hidden, *(1 if n in stretched else length[n] for n in after)))
    return [d.array(shape) for shape in shapes]


@case("einsum", analytic=False,
      bad=(call("ij,jk->il", M, M.T), call("ij->->i", M), call("ij,jk", M), call("ij,jk", M, M), call("ii", M), call("ij->iij", M),
           call("ijk", M), call("i$", M), call("ij,jk", M, M.T.astype("float32")), call("i", M), call("i.j", M), call("ij")))
def _(d):
    equation = d.pick(EQUATIONS)
    return call(equation, *operands(d, equation))


@case("einsum", numpy=lambda equation, xs: np.einsum(equation, *xs), analytic=True)
def _(d):
    """As a list of operands, of which NumPy takes those with equal lengths."""
    equation = d.pick(["ij,jk->ik", "ij,kj,il->lk", "aij,ajk->ik", "ii,i->i"])
    return call(equation, [d.array((3,) * len(term)) for term in equation.split("->")[0].split(",")])


@case("einsum")
def _(d):
    """With lists of labels."""
    return call(d.array((2, 3)), [0, 30], d.array((2, 3, 4)), [..., 30, 2], [2, ..., 0]) if d.bool() else call(d.array((2, 3)), [5, 3])


@case("tensordot", analytic=True, numpy=lambda a, b, dims=2: np.tensordot(a, b, dims),
      bad=(call(M, M, ([1], [0])), call(M, M, ([0, 1], [0])), call(M, M, 3), call(M, M, -1), call(M, M, ([0, 0], [0, 0]))))
def _(d):
    shape = d.shape(min_side=0)
    k = d.integer(0, len(shape))
    return call(d.array((*d.shape(max_dims=2), *shape[:k])), d.array((*shape[:k], *d.shape(max_dims=2))), k)


@case("tensordot", analytic=True, numpy=lambda a, b, dims: np.tensordot(a, b, dims))
def _(d):
    shape = d.shape(min_dims=1, min_side=0)
    a, b = d.permutation(len(shape)), d.permutation(len(shape))
    k = d.integer(0, len(shape))
    return call(d.array(tuple(shape[a.index(i)] for i in range(len(shape)))), d.array(tuple(shape[b.index(i)] for i in range(len(shape)))),
                ([n - len(shape) if d.bool() else n for n in a[:k]], b[:k]))


@case("tensordot")
def _(d):
    """A length of 1 is stretched, which NumPy refuses."""
    return call(d.array((2, 3)), d.array((1, 4)), ([1], [0]))
