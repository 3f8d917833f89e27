/* a @ b + bias, or its ReLU, or y += a @ b, of NumPy's arrays as they are, transposed, sliced or repeated: sizes, strides and blocks for the kernel in matmul.c.

   Written with Python's C API too, since small products are mostly made of the time that it takes to look at two arrays. What the kernel does not
   take, and shapes that do not multiply, give None; NumPy then multiplies, or raises. */
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL tinygrad_ed_numpy
#define NO_IMPORT_ARRAY
#include <Python.h>
#include <numpy/arrayobject.h>

#include "binding.h"
#include "families.h"

#define WORK (1 << 21)                  /* multiplications that are worth another thread's while */
#define STRIP 12                        /* rows of a tile: blocks have a multiple of them */
#define ROWS 516                        /* of a block at most: so many stay in the second cache */
#define BLOCKS 8                        /* that a large product has at least, for the threads to share evenly */

static inline idx most(idx a, idx b) { return a > b ? a : b; }
static inline idx quotient(idx a, idx b) { return (a + b - 1) / b; }

/* A stack of matrices in an array: a vector is one row, or one column. Strides are in elements. */
struct matrices {
    PyArrayObject *array;
    idx rows, columns, row, column;
    int dims;                           /* before the last two */
};

static inline idx stride(const struct matrices *x, int dim) {
    return PyArray_DIM(x->array, dim) == 1 ? 0 : PyArray_STRIDE(x->array, dim) / PyArray_ITEMSIZE(x->array);
}

/* Whether the kernel can read an array. */
static int readable(PyObject *x, int type) {
    if (!PyArray_Check(x)) return 0;
    PyArrayObject *a = (PyArrayObject *)x;
    if (PyArray_TYPE(a) != type || !PyArray_ISBEHAVED_RO(a)) return 0;
    for (int d = 0; d < PyArray_NDIM(a); d++)
        if (PyArray_DIM(a, d) == 0 || (PyArray_DIM(a, d) > 1 && PyArray_STRIDE(a, d) % PyArray_ITEMSIZE(a))) return 0;
    return PyArray_NDIM(a) > 0;
}

static struct matrices matrices(PyObject *x, int is_row) {
    struct matrices s = {.array = (PyArrayObject *)x, .rows = 1, .columns = 1};
    int n = PyArray_NDIM(s.array);
    if (n > 1 || is_row) s.columns = PyArray_DIM(s.array, n - 1), s.column = stride(&s, n - 1);
    if (n > 1 || !is_row) s.rows = PyArray_DIM(s.array, n > 1 ? n - 2 : 0), s.row = stride(&s, n > 1 ? n - 2 : 0);
    s.dims = n > 2 ? n - 2 : 0;
    return s;
}

/* Take a stack for one matrix of all rows, if they lie at equal distances. */
static void fold(struct matrices *x) {
    idx rows = x->rows, row = x->row;
    for (int d = x->dims - 1; d >= 0; d--) {
        idx n = PyArray_DIM(x->array, d);
        if (rows == 1)
            row = stride(x, d);
        else if (n > 1 && stride(x, d) != rows * row)
            return;
        rows *= n;
    }
    x->rows = rows, x->row = row, x->dims = 0;
}

static struct matrices transposed(struct matrices x) {
    struct matrices t = x;
    t.rows = x.columns, t.columns = x.rows, t.row = x.column, t.column = x.row;
    return t;
}

/* The sizes of the stack that two stacks give; -1 if they do not broadcast. */
static int broadcast(const struct matrices *a, const struct matrices *b, npy_intp *shape) {
    int dims = a->dims > b->dims ? a->dims : b->dims;
    for (int d = 0; d < dims; d++) {
        int da = d - dims + a->dims, db = d - dims + b->dims;
        idx na = da < 0 ? 1 : PyArray_DIM(a->array, da), nb = db < 0 ? 1 : PyArray_DIM(b->array, db);
        if (na != nb && na != 1 && nb != 1) return -1;
        shape[d] = na == 1 ? nb : na;
    }
    return dims;
}

/* Where the matrices begin that make the products, two numbers for each, `every` of four. */
static void find(const struct matrices *x, const npy_intp *shape, int dims, idx products, int64_t *places) {
    npy_intp at[NPY_MAXDIMS] = {0};
    idx place = 0;
    for (idx p = 0; p < products; p++) {
        places[2 * p] = place;
        for (int d = dims - 1; d >= 0; d--) {
            int own = d - dims + x->dims;
            idx step = own < 0 ? 0 : stride(x, own);
            place += step;
            if (++at[d] < shape[d]) break;
            place -= shape[d] * step, at[d] = 0;
        }
    }
}

/* Into which blocks the products are cut, and how many of them make a piece: by the sizes alone, so that results do not depend on the threads. */
static idx cut(idx products, idx m, idx n, idx K, idx width, idx *rows, idx *columns) {
    idx effort = m < 4 ? 8 * K : K;                     /* numbers that are used once or twice come from far */
    idx panels = quotient(n, width), down = quotient(m, ROWS), high = quotient(m, down);
    idx across = quotient(panels, most(least(products * down * panels / BLOCKS, 16), 1 + WORK / (high * effort * width)));
    idx wanted = least(BLOCKS, products * m * n * effort / WORK);
    if (products * down * across < wanted) down = least(quotient(wanted, products * across), quotient(m, STRIP));
    *rows = quotient(quotient(m, down), STRIP) * STRIP;
    *columns = quotient(panels, across) * width;
    return most(1, WORK / (least(*rows, m) * effort * least(*columns, n)));
}

/* Whether an array can take a result. */
static int takes(PyObject *x, int type, int dims, const npy_intp *shape) {
    return readable(x, type) && PyArray_ISCARRAY((PyArrayObject *)x) && PyArray_NDIM((PyArrayObject *)x) == dims &&
           PyArray_CompareLists(PyArray_DIMS((PyArrayObject *)x), shape, dims);
}

/* multiply(a, b, bias=None, relu=False, out=None, add=False): a @ b, plus a row or what is in `out`, and its ReLU if wanted; None where the kernel does
   not suit. `out` shares no memory with the others. */
PyObject *multiply(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    if (count < 2 || count > 6) return PyErr_Format(PyExc_TypeError, "multiply takes three arrays, a bias and two booleans, got %zd arguments", count);
    PyArrayObject *bias = count > 2 && given[2] != Py_None ? (PyArrayObject *)given[2] : NULL;
    PyObject *out = count > 4 && given[4] != Py_None ? given[4] : NULL;
    int relu = count > 3 && given[3] == Py_True, add = out && count > 5 && given[5] == Py_True;
    int type = PyArray_Check(given[0]) ? PyArray_TYPE((PyArrayObject *)given[0]) : -1;
    if ((type != NPY_FLOAT && type != NPY_DOUBLE) || !readable(given[0], type) || !readable(given[1], type)) Py_RETURN_NONE;
    struct matrices a = matrices(given[0], 1), b = matrices(given[1], 0);
    if (a.columns != b.rows) Py_RETURN_NONE;
    if (bias && (!readable(given[2], type) || PyArray_NDIM(bias) != 1 || PyArray_DIM(bias, 0) != b.columns || !PyArray_IS_C_CONTIGUOUS(bias)))
        Py_RETURN_NONE;
    npy_intp shape[NPY_MAXDIMS + 2];
    int dims = broadcast(&a, &b, shape), all = dims;
    if (dims < 0) Py_RETURN_NONE;
    if (PyArray_NDIM(a.array) > 1) shape[all++] = a.rows;
    if (PyArray_NDIM(b.array) > 1) shape[all++] = b.columns;
    if (out && !takes(out, type, all, shape)) Py_RETURN_NONE;
    PyArrayObject *y = (PyArrayObject *)(out ? Py_NewRef(out) : PyArray_SimpleNew(all, shape, type));
    if (y == NULL) return NULL;

    if (b.dims == 0) fold(&a);
    if (b.columns == 1 && bias == NULL) {               /* a column is written as a row: (A b)ᵀ = bᵀ Aᵀ */
        struct matrices left = transposed(b);
        b = transposed(a), a = left;
    }
    dims = broadcast(&a, &b, shape);
    idx m = a.rows, n = b.columns, K = a.columns, products = 1, rows, columns;
    for (int d = 0; d < dims; d++) products *= shape[d];
    int64_t few[64], *places = products <= 32 ? few : PyMem_Malloc((size_t)products * 2 * sizeof(int64_t));
    if (places == NULL) return Py_DECREF(y), PyErr_NoMemory();
    find(&a, shape, dims, products, places), find(&b, shape, dims, products, places + 1);
    idx piece = cut(products, m, n, K, 128 / PyArray_ITEMSIZE(y), &rows, &columns);
    union arg args[] = {{.p = PyArray_DATA(a.array)}, {.p = PyArray_DATA(b.array)}, {.p = bias ? PyArray_DATA(bias) : NULL}, {.p = PyArray_DATA(y)},
                        {.p = places}, {.n = m}, {.n = n}, {.n = K}, {.n = a.row}, {.n = a.column}, {.n = b.row}, {.n = b.column}, {.n = rows},
                        {.n = columns}, {.n = relu}, {.n = add}};
    const struct kernel *kernel = type == NPY_DOUBLE ? matmul_double_kernels : matmul_float_kernels;
    int failed = run(kernel->call, args, products * quotient(m, rows) * quotient(n, columns), piece);
    if (places != few) PyMem_Free(places);
    if (failed) return Py_DECREF(y), NULL;
    return PyArray_Return(y);
}
