/* NumPy's memory (a handler in the sense of NEP 49): large arrays from the heap of heap.c, small ones from NumPy's own allocator, behind 16 bytes that
   say so. The contents of a fresh array are arbitrary, as from malloc. */
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL tinygrad_ed_numpy
#define NO_IMPORT_ARRAY
#include <Python.h>
#include <numpy/arrayobject.h>

#include <stdint.h>
#include <string.h>

#include "heap.h"
#include "memory.h"

#ifndef _WIN32
#include <pthread.h>
#endif

#define LARGE ((size_t)1 << 16)         /* bytes from which on an array is large */
#define MARK 16                         /* the last two words of a block, before a small one */

static int enabled = 0;                 /* whether arrays of the running context shall come from here */
static PyDataMemAllocator numpys;       /* NumPy's own functions, for small arrays */
static PyObject *handler = NULL;        /* the capsule with ours */

BOOKS static void *marked(char *start, size_t size) {
    if (start == NULL) return NULL;
    struct block *b = HEAD(start + MARK);
    b->kind = SMALL, b->size = size;
    return start + MARK;
}

static void *memory_malloc(void *context, size_t size) {
    if (size < LARGE) return marked(numpys.malloc(numpys.ctx, size + MARK), size);
    return size < SIZE_MAX / 4 ? heap_take(size) : NULL;
}

static void *memory_calloc(void *context, size_t count, size_t each) {
    if (each && count > SIZE_MAX / 4 / each) return NULL;
    size_t size = count * each;
    if (size < LARGE) return marked(numpys.calloc(numpys.ctx, 1, size + MARK), size);
    void *p = heap_take(size);
    if (p) memset(p, 0, size);
    return p;
}

BOOKS static void memory_free(void *context, void *p, size_t size) {
    if (p == NULL) return;
    if (HEAD(p)->kind == SMALL) numpys.free(numpys.ctx, (char *)p - MARK, HEAD(p)->size + MARK);
    else heap_give(p);
}

BOOKS static void *memory_realloc(void *context, void *p, size_t size) {
    if (p == NULL) return memory_malloc(context, size);
    size_t before = HEAD(p)->kind == SMALL ? HEAD(p)->size : HEAD(p)->wanted;
    void *q = memory_malloc(context, size);
    if (q == NULL) return NULL;
    memcpy(q, p, before < size ? before : size);
    memory_free(context, p, before);
    return q;
}

static PyDataMem_Handler ours = {
    "tinygrad_ed", 1, {NULL, memory_malloc, memory_calloc, memory_realloc, memory_free}};

int memory_prepare(void) {
    PyDataMem_Handler *own = PyCapsule_GetPointer(PyDataMem_DefaultHandler, "mem_handler");
    if (own == NULL) return -1;
    numpys = own->allocator;
#ifndef _WIN32
    pthread_atfork(heap_lock, heap_unlock, heap_unlock);
#endif
    handler = PyCapsule_New(&ours, "mem_handler", NULL);
    return handler ? 0 : -1;
}

int memory_serve(void) {
    if (!enabled) return 0;
    PyObject *current = PyDataMem_GetHandler();
    if (current == NULL) return -1;
    Py_DECREF(current);
    if (current != PyDataMem_DefaultHandler) return 0;  /* ours, or one that somebody else has chosen */
    PyObject *before = PyDataMem_SetHandler(handler);
    Py_XDECREF(before);
    return before ? 0 : -1;
}

PyObject *memory_limits(PyObject *module, PyObject *args) {
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "pn", &enabled, &limit)) return NULL;
    if (limit < 0) return PyErr_Format(PyExc_ValueError, "the limit is a number of bytes, got %zd", limit);
    heap_keep(enabled ? (size_t)limit : 0);
    if (memory_serve() < 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *memory_stats(PyObject *module, PyObject *unused) {
    struct heap h = heap_figures();
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n}", "allocated", (Py_ssize_t)h.used, "peak_allocated", (Py_ssize_t)h.most_used, "cached",
                         (Py_ssize_t)h.kept, "limit", (Py_ssize_t)h.limit, "requests", (Py_ssize_t)h.served, "hits", (Py_ssize_t)h.reused);
}

PyObject *memory_empty(PyObject *module, PyObject *unused) {
    heap_empty();
    Py_RETURN_NONE;
}
