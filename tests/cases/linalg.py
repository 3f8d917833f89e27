"""Cases of `ops/linalg` and of the module `linalg`."""
import numpy as np
from registry import call, case, lookup

import tinygrad_ed as tg

INF = float("inf")
SQUARE, WIDE, VECTOR = np.array([[2.0, 1.0], [0.5, 3.0]]), np.arange(6.0).reshape(2, 3), np.arange(3.0)
INTEGERS = np.array([[2, 1], [0, 3]])
NO_MATRIX = (call(VECTOR), call(INTEGERS))
NOT_SQUARE = (call(WIDE), *NO_MATRIX)
SINGULAR = call(np.zeros((2, 2)))


def torch(name, change=lambda *args: args):
    """A function of PyTorch after a change of its arguments."""
    return lambda *args, **options: lookup(__import__("torch"), name)(*change(*args), **options)


def ours(name, change):
    """A function of ours after a change of its arguments."""
    return lambda *args, **options: lookup(tg, name)(*change(*args), **options)


def orthogonal(d, shape):
    return np.linalg.qr(d.array(shape))[0]


def batch(d):
    return d.shape(max_dims=2, max_side=2)


def matrices(d, m=None, n=None, ahead=None):
    """Matrices whose singular values are well apart from each other and from 0."""
    m, n, ahead = d.integer(1, 4) if m is None else m, d.integer(1, 4) if n is None else n, batch(d) if ahead is None else ahead
    k = min(m, n)
    S = np.arange(k, 0, -1) + d.array((*ahead, k), 0, 0.4)
    return orthogonal(d, (*ahead, m, m))[..., :k] * S[..., None, :] @ orthogonal(d, (*ahead, n, n))[..., :k, :]


def square(d, n=None, ahead=None):
    n = d.integer(1, 4) if n is None else n
    return matrices(d, n, n, ahead)


def symmetric(d, positive=False):
    """Symmetric matrices whose eigenvalues are well apart."""
    n, ahead = d.integer(1, 4), batch(d)
    V, L = orthogonal(d, (*ahead, n, n)), np.arange(1, n + 1) + d.array((*ahead, n), 0, 0.4)
    return V * (L if positive else L - 2.5)[..., None, :] @ V.mT


def halved(A, *rest):
    """The symmetric part, of which a random change of A changes both triangles."""
    return ((A + A.mT) / 2, *rest)


def without_signs(result):
    """What is determined of singular vectors and eigenvectors."""
    return [x * x for x in result]


def empty(d):
    return np.zeros(d.pick([(0, 0), (2, 0, 0), (0, 2, 2)]))


# -- determinants ------------------------------------------------------------------------------------------------------

for name in ("det", "linalg.det"):
    @case(name, numpy=np.linalg.det, analytic=True, bad=NOT_SQUARE)
    def _(d):
        return call(square(d) if d.bool() else empty(d))

    @case(name, torch=None)                    # the gradient of a singular matrix is 0 in PyTorch where it should not be
    def _(d):
        n, rank = d.integer(1, 4), d.integer(0, 3)
        return call(square(d, n, ()) @ np.diag((np.arange(n) < rank) * 1.0) @ square(d, n, ()))

for name in ("slogdet", "linalg.slogdet"):
    @case(name, numpy=np.linalg.slogdet, bad=NOT_SQUARE)
    def _(d):
        return call(square(d) if d.bool() else empty(d))


@case("logdet", numpy=lambda A: np.log(np.linalg.det(A)), analytic=True, bad=NOT_SQUARE)
def _(d):
    return call(symmetric(d, positive=True))


@case("trace", numpy=np.trace, analytic=True, bad=(call(VECTOR), call(np.zeros((2, 2, 2)))))
def _(d):
    return call(d.array((d.integer(0, 4), d.integer(0, 4))))


# -- inverses and equations --------------------------------------------------------------------------------------------

for name in ("inverse", "linalg.inv"):
    @case(name, numpy=np.linalg.inv, analytic=True, bad=(*NOT_SQUARE, SINGULAR))
    def _(d):
        return call(square(d) if d.bool() else empty(d))

for name in ("matrix_power", "linalg.matrix_power"):
    @case(name, numpy=np.linalg.matrix_power, analytic=True, bad=(call(WIDE, 2), call(VECTOR, 2), call(np.zeros((2, 2)), -1)))
    def _(d):
        return call(square(d), d.integer(-3, 6))

for name in ("matrix_exp", "linalg.matrix_exp"):
    @case(name, bad=NOT_SQUARE, parity_rtol=1e-8)
    def _(d):
        return call(square(d) / 2)

for name in ("pinverse", "linalg.pinv"):
    @case(name, numpy=np.linalg.pinv, bad=NO_MATRIX)
    def _(d):
        return call(matrices(d))


@case("linalg.pinv", numpy=lambda A, rtol: np.linalg.pinv(A, rtol=rtol), order=0)
def _(d):
    return call(matrices(d), rtol=d.number(0, 0.9))


@case("linalg.pinv", order=0)
def _(d):
    return call(symmetric(d), atol=d.number(0, 2), hermitian=True)


def _solve(A, B):
    """PyTorch's rule, and ours: B of A's shape without the last dimension are vectors, for NumPy matrices unless it has one dimension."""
    return np.linalg.solve(A, B[..., None])[..., 0] if B.shape == A.shape[:-1] else np.linalg.solve(A, B)


@case("linalg.solve", numpy=_solve, analytic=True,
      bad=(call(WIDE, WIDE), call(SQUARE, np.zeros((3, 1))), call(SQUARE, VECTOR), call(np.zeros((2, 2)), SQUARE),
           call(SQUARE, SQUARE.astype("float32")), call(np.stack([SQUARE] * 3), np.zeros((2, 2, 1))), call(SQUARE, np.ones(2), left=False)))
def _(d):
    n = d.integer(1, 4)
    ahead = batch(d)
    return call(square(d, n, ahead), d.array((*d.partner(ahead), n, d.integer(0, 3))))


@case("linalg.solve")
def _(d):
    """X on the left of A."""
    n = d.integer(2, 4)
    return call(square(d, n, ()), d.array((*batch(d), d.integer(1, 3), n)), left=False)


@case("linalg.solve", numpy=lambda A, b: np.linalg.solve(A, b[..., None])[..., 0], analytic=True)
def _(d):
    """Vectors, one for each matrix or one for all."""
    A = square(d)
    return call(A, d.array(A.shape[:-1] if d.bool() else A.shape[-1:]))


@case("linalg.solve_triangular",
      bad=(call(SQUARE, VECTOR, upper=True), call(WIDE, WIDE, upper=True), call(SQUARE, np.zeros((3, 1)), upper=True)))
def _(d):
    n, left = d.integer(1, 4), d.bool()
    A = d.array((*batch(d), n, n), -0.5, 0.5) + 2 * np.eye(n)
    return call(A, d.array((n, 2) if left else (2, n)), upper=d.bool(), left=left, unitriangular=d.bool())


def least(A, B):
    return np.linalg.pinv(A) @ B


@case("linalg.lstsq", numpy=least, free=lambda result: result[0], op=lambda A, B: tg.linalg.lstsq(A, B).solution,
      torch=lambda A, B: __import__("torch").linalg.lstsq(A, B).solution, parity_rtol=1e-8,
      bad=(call(WIDE, np.zeros((3, 1))), call(VECTOR, VECTOR), call(WIDE, WIDE.astype("float32"))))
def _(d):
    A = matrices(d)
    return call(A, d.array((*A.shape[:-1], 2)))


@case("linalg.lstsq", parity_rtol=1e-8, free=lambda result: [part for part in result if part.numel()])
def _(d):
    """All that is returned, also for vectors; PyTorch's default driver gives no residuals."""
    A = matrices(d)
    return call(A, d.array(A.shape[:-1] if A.ndim == 2 and d.bool() else (*A.shape[:-1], 3)), driver=d.pick(["gels", "gelsd"]))


@case("linalg.matrix_rank", numpy=np.linalg.matrix_rank, order=0, bad=NO_MATRIX)
def _(d):
    n, rank = d.integer(1, 4), d.integer(0, 3)
    return call(square(d, n, ()) @ np.diag((np.arange(n) < rank) * 1.0) @ matrices(d, n))


@case("linalg.matrix_rank", order=0)
def _(d):
    return call(matrices(d), atol=d.number(0, 3), rtol=d.number(0, 1))


@case("linalg.cond", numpy=lambda A, p=None: np.linalg.cond(A, p), bad=(call(WIDE, 1), *NO_MATRIX),
      rtol=1e-4)
def _(d):
    return call(matrices(d, 2, 3) if d.bool() else square(d), d.pick([None, 2, -2]))


@case("linalg.cond", numpy=np.linalg.cond, torch=None)         # PyTorch 2.13 has no backward here: it writes into what it saved
def _(d):
    return call(square(d, d.integer(2, 4)), d.pick(["fro", "nuc"]))


# -- decompositions ----------------------------------------------------------------------------------------------------

for name in ("cholesky", "linalg.cholesky"):
    @case(name, op=ours(name, halved), torch=torch("linalg.cholesky", halved), numpy=lambda A, upper: np.linalg.cholesky(A, upper=upper),
          bad=(call(WIDE), call(-np.eye(2)), call(VECTOR)))
    def _(d):
        return call(symmetric(d, positive=True), upper=d.bool())


def triangle(A, upper=False):
    return A.triu() if upper else A.tril()


@case("cholesky_solve", torch=lambda B, L, upper=False: __import__("torch").cholesky_solve(B, triangle(L, upper), upper),
      bad=(call(VECTOR, SQUARE), call(np.zeros((3, 1)), SQUARE), call(SQUARE, WIDE)))
def _(d):
    n = d.integer(1, 4)
    return call(d.array((n, 2)), d.array((*batch(d), n, n), -0.5, 0.5) + 2 * np.eye(n), d.bool())


@case("cholesky_inverse", torch=lambda L, upper=False: __import__("torch").cholesky_inverse(triangle(L, upper), upper),
      bad=(call(WIDE), call(VECTOR)))
def _(d):
    n = d.integer(1, 4)
    return call(d.array((*batch(d), n, n), -0.5, 0.5) + 2 * np.eye(n), d.bool())


@case("linalg.eigh", op=ours("linalg.eigh", halved), torch=torch("linalg.eigh", halved), free=without_signs,
      bad=(call(WIDE), call(VECTOR), call(SQUARE, "X")))
def _(d):
    return call(symmetric(d), UPLO=d.pick("LU"))


@case("linalg.eigvalsh", op=ours("linalg.eigvalsh", halved), torch=torch("linalg.eigvalsh", halved), numpy=np.linalg.eigvalsh,
      bad=(call(WIDE), call(VECTOR), call(SQUARE, "X")))
def _(d):
    return call(symmetric(d), UPLO=d.pick("LU"))


@case("linalg.svd", free=without_signs, bad=(*NO_MATRIX, call(np.full((2, 2), np.nan))))
def _(d):
    return call(matrices(d), full_matrices=False)


@case("linalg.svd", free=without_signs)
def _(d):
    return call(square(d))


def span(result):
    """The part of a full decomposition that has a derivative."""
    U, S, Vh = result
    k = S.shape[-1]
    return [U[..., :k], S, Vh[..., :k, :]]


@case("linalg.svd", op=lambda A: span(tg.linalg.svd(A)), torch=lambda A: span(__import__("torch").linalg.svd(A)), free=without_signs)
def _(d):
    return call(matrices(d))


@case("svd", torch=lambda A, some=True: span_of_v(__import__("torch").svd(A, some)), op=lambda A, some=True: span_of_v(tg.svd(A, some)),
      free=without_signs, bad=(call(VECTOR),))
def _(d):
    return call(matrices(d), some=d.bool())


def span_of_v(result):
    U, S, V = result
    return [U[..., :S.shape[-1]], S, V[..., :S.shape[-1]]]


@case("svd", free=lambda result: result[1])
def _(d):
    return call(matrices(d), compute_uv=False)


@case("linalg.svdvals", numpy=lambda A: np.linalg.svd(A, compute_uv=False), bad=(*NO_MATRIX, call(np.full((2, 2), np.nan))))
def _(d):
    return call(matrices(d))


@case("linalg.qr", numpy=lambda A, mode="reduced": np.linalg.qr(A, mode), bad=(*NO_MATRIX, call(WIDE, "no")))
def _(d):
    A = matrices(d)
    return call(A) if A.shape[-2] > A.shape[-1] else call(A, d.pick(["reduced", "complete"]))


@case("linalg.qr", order=0)
def _(d):
    return call(matrices(d), d.pick(["complete", "r"]))


@case("qr", torch=lambda A, some=True: __import__("torch").linalg.qr(A, "reduced" if some else "complete"), bad=(call(VECTOR),))
def _(d):
    A = matrices(d)
    return call(A) if A.shape[-2] > A.shape[-1] else call(A, d.bool())


# -- norms -------------------------------------------------------------------------------------------------------------

@case("linalg.vector_norm", numpy=lambda x, ord=2, dim=None, keepdim=False: np.linalg.vector_norm(x, ord=ord, axis=dim, keepdims=keepdim),
      kinks=lambda x, *args, **options: [x], bad=(call(np.arange(3)), call(VECTOR, "fro"), call(VECTOR, 2, 1), call(np.zeros(0), INF)))
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, d.pick([2, 1, 0, 3, 2.5, 0.5, -1, INF, -INF]), dim=d.dims(x.ndim), keepdim=d.bool())


@case("linalg.vector_norm", numpy=np.linalg.vector_norm)
def _(d):
    return call(d.array(d.shape(min_dims=1)))


def unequal(A):
    """How far |A| and its sums over rows and columns are from ties."""
    return [A, *[np.diff(np.sort(np.atleast_1d(np.abs(A).sum(dim)))) for dim in (-2, -1)[2 - A.ndim:]]]


ORDERS = ["fro", "nuc", 2, -2, 1, -1, INF, -INF]


@case("linalg.matrix_norm", numpy=lambda A, ord="fro", keepdim=False: np.linalg.matrix_norm(A, ord=ord, keepdims=keepdim),
      kinks=lambda A, *args, **options: unequal(A),
      bad=(call(VECTOR), call(WIDE, 3), call(WIDE, "no"), call(WIDE, 1, (0, 0)), call(WIDE, 1, 0)))
def _(d):
    return call(matrices(d), d.pick(ORDERS), keepdim=d.bool())


@case("linalg.matrix_norm", kinks=lambda A, ord, dim, keepdim: unequal(np.moveaxis(A, dim, (-2, -1))))
def _(d):
    A, order = matrices(d, ahead=(2,)), d.permutation(3)
    return call(np.moveaxis(A, (0, 1, 2), order), d.pick(ORDERS), (order[1], order[2] - 3), keepdim=d.bool())


@case("linalg.norm", numpy=lambda A, ord=None, dim=None: np.linalg.norm(A, ord, dim), kinks=lambda A, *args, **options: unequal(A),
      bad=(call(np.zeros((2, 2, 2)), 2), call(VECTOR, "fro"), call(np.arange(3)), call(WIDE, "no")))
def _(d):
    A = matrices(d, ahead=())
    return d.pick([call(A), call(A, d.pick(ORDERS)), call(A, d.pick([2, 1, 3, INF]), dim=d.dim(2)), call(A, d.pick(ORDERS), dim=(0, 1)),
                   call(A, d.pick(ORDERS), dim=(1, 0)), call(A[0] + 3, d.pick([2, 1, 3]))]) if A.ndim else call(A)


@case("linalg.norm", kinks=lambda A, **options: [np.sqrt(np.sum(A * A))], bad=(call(np.zeros((2, 2, 2)), dim=(0, 1, 2)),))
def _(d):
    x = d.array(d.shape(min_dims=1))
    return call(x, dim=d.pick([None, d.dim(x.ndim), (0, -1)[:x.ndim]]), keepdim=d.bool())


# -- products ----------------------------------------------------------------------------------------------------------

@case("linalg.matmul", numpy=np.matmul, analytic=True, bad=(call(WIDE, WIDE),))
def _(d):
    return call(d.array((2, 3)), d.array((*batch(d), 3, 4)))


@case("linalg.vecdot", numpy=lambda x, y, dim=-1: (x * y).sum(dim), analytic=True,
      bad=(call(WIDE, SQUARE),))
def _(d):
    shape = d.shape(min_dims=1, min_side=0)
    return call(d.array(shape), d.array(shape), dim=d.dim(len(shape)))


@case("linalg.vecdot", numpy=lambda x, y: (x * y).sum(-1), analytic=True, torch=lambda x, y: (x * y).sum(-1))
def _(d):
    shape = d.shape(min_dims=1)
    return call(d.array(shape), d.array(d.partner(shape)))


@case("linalg.cross", numpy=lambda a, b, dim=-1: np.cross(a, b, axis=dim), analytic=True,
      bad=(call(WIDE, VECTOR), call(SQUARE, SQUARE)))
def _(d):
    return call(d.array((4, 3)), d.array((1, 3))) if d.bool() else call(d.array((3, 1)), d.array((3, 4)), dim=d.pick([0, -2]))


@case("linalg.multi_dot", numpy=np.linalg.multi_dot, analytic=True,
      bad=(call([WIDE]), call([WIDE, WIDE]), call([WIDE, np.zeros((2, 3, 3))])))
def _(d):
    n = [d.integer(1, 4) for _ in range(d.integer(3, 5))]
    shapes = list(zip(n, n[1:]))
    if d.bool():
        shapes[0] = shapes[0][1:]
    if d.bool():
        shapes[-1] = shapes[-1][:1]
    return call([d.array(shape) for shape in shapes])


@case("linalg.diagonal", numpy=lambda A, offset=0, dim1=-2, dim2=-1: np.diagonal(A, offset, dim1, dim2), analytic=True,
      bad=(call(VECTOR), call(WIDE, dim1=0, dim2=0), call(WIDE, dim1=2)))
def _(d):
    A = d.array((*batch(d), 3, 4))
    return call(A, offset=d.integer(-2, 2)) if d.bool() else call(A, dim1=-1, dim2=d.pick([-2, A.ndim - 2]))
