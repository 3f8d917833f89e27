/* What Python sees: an object for each kernel, called as kernel(n, piece, *arguments), and functions for threads and memory.

   Written with Python's C API rather than Cython: all kernels are called through one function of forty lines, which checks each argument against the
   kernel's list of letters (see kernel.h) and takes 0.1 µs; no tool is needed for the build but a C compiler. Arrays are never converted here:
   the Python functions next to this folder choose what comes, and anything else raises before the kernel runs. */
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL tinygrad_ed_numpy
#include <Python.h>
#include <numpy/arrayobject.h>

#include "binding.h"
#include "families.h"                   /* generated: FAMILIES, the tables of kernels in float and in double */
#include "memory.h"
#include "threads.h"

#define MOST_ARGUMENTS 32

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    const struct kernel *kernel[2];     /* in float and in double */
} Kernel;

/* The type that a letter stands for in the float or the double version of a kernel. */
static int type_of(char letter, int is_double) {
    switch (letter) {
    case 'r': return is_double ? NPY_DOUBLE : NPY_FLOAT;
    case 'i': return NPY_INT64;
    case 'u': return NPY_UINT64;
    case 'b': return NPY_UINT8;
    default: return NPY_DOUBLE;         /* g */
    }
}

static int suits(PyArrayObject *a, char letter, int is_double, int written) {
    int type = PyArray_TYPE(a), flags = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | NPY_ARRAY_NOTSWAPPED | (written ? NPY_ARRAY_WRITEABLE : 0);
    int equal = letter == 'b' ? PyArray_ITEMSIZE(a) == 1 : PyArray_EquivTypenums(type, type_of(letter, is_double));
    return equal && PyArray_CHKFLAGS(a, flags & ~NPY_ARRAY_NOTSWAPPED) && PyArray_ISNOTSWAPPED(a);
}

/* Let a kernel do its n elements, in pieces. */
int run(kernel_call call, const union arg *args, idx n, idx piece) {
    if (n <= piece) {                                   /* small: done before another thread could begin */
        if (n > 0) call(0, n, args);
        return 0;
    }
    if (memory_serve() < 0) return -1;
    Py_BEGIN_ALLOW_THREADS
    parallel_for(call, args, n, piece);
    Py_END_ALLOW_THREADS
    return 0;
}

static PyObject *call_kernel(PyObject *self, PyObject *const *given, size_t nargsf, PyObject *names) {
    const struct kernel *const *versions = ((Kernel *)self)->kernel;
    const char *letters = versions[0]->arguments;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf) - 2, expected = (Py_ssize_t)strlen(letters);
    union arg args[MOST_ARGUMENTS];
    int is_double = 0;
    if (names != NULL || count != expected)
        return PyErr_Format(PyExc_TypeError, "%s takes n, piece and %zd arguments, got %zd", versions[0]->name, expected, count);
    for (Py_ssize_t i = 0; i < expected; i++)           /* the first array of reals decides */
        if ((letters[i] | 32) == 'r' && PyArray_Check(given[2 + i])) {
            is_double = PyArray_TYPE((PyArrayObject *)given[2 + i]) == NPY_DOUBLE;
            break;
        }
    idx n = PyLong_AsSsize_t(given[0]), piece = PyLong_AsSsize_t(given[1]);
    for (Py_ssize_t i = 0; i < expected; i++) {
        PyObject *x = given[2 + i];
        char letter = letters[i] | 32;
        if (letter == 'n')
            args[i].n = PyLong_AsSsize_t(x);
        else if (letter == 'd')
            args[i].d = PyFloat_AsDouble(x);
        else if (x == Py_None)
            args[i].p = NULL;
        else if (PyArray_Check(x) && suits((PyArrayObject *)x, letter, is_double, letters[i] != letter))
            args[i].p = PyArray_DATA((PyArrayObject *)x);
        else
            return PyErr_Format(PyExc_TypeError, "%s: argument %zd does not suit '%c': %R", versions[0]->name, i, letters[i], x);
    }
    if (PyErr_Occurred()) return NULL;
    if (piece < 1) return PyErr_Format(PyExc_ValueError, "%s: a piece has at least 1 element, got %zd", versions[0]->name, piece);
    if (run(versions[is_double]->call, args, n, piece) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *kernel_repr(PyObject *self) {
    const struct kernel *k = ((Kernel *)self)->kernel[0];
    return PyUnicode_FromFormat("<kernel %s(n, piece, %s)>", k->name, k->arguments);
}

static PyTypeObject KernelType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tinygrad_ed.backend.kernels.compiled._native.Kernel",
    .tp_basicsize = sizeof(Kernel),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Kernel, vectorcall),
    .tp_repr = kernel_repr,
    .tp_doc = "A kernel, called as kernel(n, piece, *arguments).",
};

/* fits(*arrays): whether a kernel can take them as they are: of one dtype, float32 or float64, and C-contiguous. None fits. */
static PyObject *fits(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    int type = -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (given[i] == Py_None) continue;
        if (!PyArray_Check(given[i])) Py_RETURN_FALSE;
        PyArrayObject *a = (PyArrayObject *)given[i];
        int own = PyArray_TYPE(a);
        if (type < 0) type = own;
        if (own != type || (own != NPY_FLOAT && own != NPY_DOUBLE)) Py_RETURN_FALSE;
        if (!suits(a, 'r', own == NPY_DOUBLE, 0)) Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* like(x): an array with the shape and dtype of x, and arbitrary contents. */
static PyObject *like(PyObject *module, PyObject *x) {
    if (!PyArray_Check(x)) return PyErr_Format(PyExc_TypeError, "like takes an array, got %R", x);
    PyArrayObject *a = (PyArrayObject *)x;
    return PyArray_SimpleNew(PyArray_NDIM(a), PyArray_DIMS(a), PyArray_TYPE(a));
}

static PyObject *set_threads(PyObject *module, PyObject *n) {
    long threads = PyLong_AsLong(n);
    if (PyErr_Occurred()) return NULL;
    if (threads < 1 || threads > 1024) return PyErr_Format(PyExc_ValueError, "the number of threads is between 1 and 1024, got %ld", threads);
    Py_BEGIN_ALLOW_THREADS
    threads_set((int)threads);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *threads(PyObject *module, PyObject *unused) { return PyLong_FromLong(threads_count()); }

static PyObject *instructions(PyObject *module, PyObject *unused) {
#if defined(CLONES) && defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return PyUnicode_FromString("AVX-512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return PyUnicode_FromString("AVX2");
#endif
    return PyUnicode_FromString("baseline");
}

static PyMethodDef functions[] = {
    {"fits", (PyCFunction)(void (*)(void))fits, METH_FASTCALL, "Whether kernels can take these arrays as they are."},
    {"like", like, METH_O, "An array with the shape and dtype of another, and arbitrary contents."},
    {"multiply", (PyCFunction)(void (*)(void))multiply, METH_FASTCALL, "multiply(a, b, bias=None, relu=False): a @ b plus a row, or its ReLU; None where no kernel suits."},
    {"set_threads", set_threads, METH_O, "Set how many threads work, the caller included."},
    {"threads", threads, METH_NOARGS, "How many threads work, the caller included."},
    {"instructions", instructions, METH_NOARGS, "The instruction set that the loader chose."},
    {"memory_limits", memory_limits, METH_VARARGS, "memory_limits(enabled, limit): whether freed memory is kept, and how many bytes at most."},
    {"memory_stats", memory_stats, METH_NOARGS, "A dict of counts and bytes."},
    {"memory_empty", memory_empty, METH_NOARGS, "Give all kept memory back."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Compiled kernels; see the C sources.", .m_size = -1, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void) {
    import_array();
    if (PyType_Ready(&KernelType) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL || memory_prepare() < 0) return NULL;
    static const struct kernel *const families[][2] = {FAMILIES};
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t k = 0; families[f][0][k].name; k++) {
            Kernel *kernel = PyObject_New(Kernel, &KernelType);
            if (kernel == NULL) return NULL;
            kernel->vectorcall = call_kernel;
            kernel->kernel[0] = &families[f][0][k];
            kernel->kernel[1] = &families[f][1][k];
            if (PyModule_AddObject(module, kernel->kernel[0]->name, (PyObject *)kernel) < 0) return NULL;
        }
    return module;
}
