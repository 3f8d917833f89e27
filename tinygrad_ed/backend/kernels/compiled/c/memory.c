/* NumPy's memory for large arrays, kept for the next array of the same size (a handler in the sense of NEP 49).

   A fresh array of some megabytes is paid for page by page, when the kernel first maps them; a training step makes the same arrays again and
   again. A block that NumPy frees, which it does when the last view of an array is gone, therefore goes on a list of blocks of its size class, and
   the next array of the class takes it from there. Classes are an eighth of a power of two apart, so at most an eighth is unused.

   In front of what NumPy gets lie 64 bytes, which keep the alignment, with the block's size; small blocks, which go to NumPy's own allocator, have 16.
   If more would be kept than the limit, all of it goes back first. The contents of a fresh array are arbitrary, as from malloc. */
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL tinygrad_ed_numpy
#define NO_IMPORT_ARRAY
#include <Python.h>
#include <numpy/arrayobject.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#ifdef _WIN32
#include <malloc.h>
#define aligned(size) _aligned_malloc(size, 64)
#define release _aligned_free
#else
#include <pthread.h>
#include <sys/mman.h>
static void *aligned(size_t size) {
    void *p = NULL;
    int huge = size >= (size_t)4 << 20;                 /* pages of 2 MiB, where the system has them */
    if (posix_memalign(&p, huge ? (size_t)2 << 20 : 64, size)) return NULL;
#ifdef MADV_HUGEPAGE
    if (huge) madvise(p, size, MADV_HUGEPAGE);
#endif
    return p;
}
#define release free
#endif

#define LARGE ((size_t)1 << 16)         /* bytes from which on a block is kept */
#define CLASSES (8 * 48)

struct block {                          /* the end of it lies right before what NumPy gets */
    struct block *next;                 /* on the list of its class */
    void *start;                        /* what malloc gave */
    size_t class;                       /* its number, or SMALL */
    size_t size;                        /* bytes that NumPy may use */
};
#define SMALL ((size_t)-1)
#define HEAD_OF_LARGE 64
#define HEAD_OF_SMALL 16                /* the last two words of a block */
#define HEAD(p) ((struct block *)((char *)(p) - sizeof(struct block)))

static struct {
#ifndef _WIN32
    pthread_mutex_t lock;
#endif
    int enabled;
    size_t limit;
    struct block *list[CLASSES];
    size_t kept, used, most_used;       /* bytes on the lists; in large arrays, now and at most */
    size_t served, reused;              /* large blocks handed out, and how many of them came from the lists */
} memory = {
#ifndef _WIN32
    .lock = PTHREAD_MUTEX_INITIALIZER,
#endif
    .enabled = 0};

#ifdef _WIN32                           /* NumPy allocates while it holds the interpreter lock */
#define LOCK
#define UNLOCK
#else
#define LOCK pthread_mutex_lock(&memory.lock)
#define UNLOCK pthread_mutex_unlock(&memory.lock)
#endif

static PyDataMemAllocator numpys;       /* NumPy's own functions, for small blocks */
static PyObject *handler = NULL;        /* the capsule with ours */

/* The number of the smallest class that holds size bytes, and its bytes: k·2^e with k in 9...16. */
static size_t class_of(size_t size, size_t *bytes) {
    size_t e = 0;
    while (((size_t)16 << e) < size) e++;               /* 8·2^e < size <= 16·2^e */
    size_t step = (size_t)1 << e, k = (size - 1) / step + 1;
    *bytes = k * step;
    return 8 * e + (k - 8);
}

/* Free a list of blocks. */
static void release_all(struct block *b) {
    while (b) {
        struct block *next = b->next;
        release(b->start);
        b = next;
    }
}

/* Take all kept blocks off the lists, as one list. The lock is held. */
static struct block *take_all(void) {
    struct block *all = NULL;
    for (int c = 0; c < CLASSES; c++)
        while (memory.list[c]) {
            struct block *b = memory.list[c];
            memory.list[c] = b->next;
            b->next = all, all = b;
        }
    memory.kept = 0;
    return all;
}

/* A large block, and whether its bytes have been used before. */
static void *large(size_t size, int *fresh) {
    size_t bytes, class = class_of(size, &bytes);
    LOCK;
    struct block *b = memory.list[class];
    if (b) {
        memory.list[class] = b->next;
        memory.kept -= bytes;
        memory.reused++;
    }
    memory.served++;
    memory.used += bytes;
    if (memory.used > memory.most_used) memory.most_used = memory.used;
    UNLOCK;
    *fresh = b == NULL;
    if (b) return (char *)b + sizeof *b;
    char *start = aligned(bytes + HEAD_OF_LARGE);
    if (start == NULL) {                                /* perhaps there is room in what is kept */
        LOCK;
        struct block *all = take_all();
        UNLOCK;
        release_all(all);
        start = aligned(bytes + HEAD_OF_LARGE);
    }
    if (start == NULL) {
        LOCK;
        memory.used -= bytes;
        UNLOCK;
        return NULL;
    }
    b = HEAD(start + HEAD_OF_LARGE);
    b->start = start, b->class = class, b->size = bytes;
    return start + HEAD_OF_LARGE;
}

static void *mark_small(char *start, size_t size) {
    if (start == NULL) return NULL;
    struct block *b = HEAD(start + HEAD_OF_SMALL);
    b->class = SMALL, b->size = size;
    return start + HEAD_OF_SMALL;
}

static void *memory_malloc(void *context, size_t size) {
    int fresh;
    if (size >= LARGE && size < SIZE_MAX / 4) return large(size, &fresh);
    if (size >= LARGE) return NULL;
    return mark_small(numpys.malloc(numpys.ctx, size + HEAD_OF_SMALL), size);
}

static void *memory_calloc(void *context, size_t count, size_t each) {
    int fresh;
    if (each && count > SIZE_MAX / 4 / each) return NULL;
    size_t size = count * each;
    if (size < LARGE) return mark_small(numpys.calloc(numpys.ctx, 1, size + HEAD_OF_SMALL), size);
    void *p = large(size, &fresh);
    if (p) memset(p, 0, size);
    return p;
}

static void memory_free(void *context, void *p, size_t size) {
    if (p == NULL) return;
    struct block *b = HEAD(p), *all = NULL;
    if (b->class == SMALL) {
        numpys.free(numpys.ctx, (char *)p - HEAD_OF_SMALL, b->size + HEAD_OF_SMALL);
        return;
    }
    LOCK;
    memory.used -= b->size;
    int keep = memory.enabled && b->size <= memory.limit;
    if (keep) {
        if (memory.kept + b->size > memory.limit) all = take_all();
        b->next = memory.list[b->class];
        memory.list[b->class] = b;
        memory.kept += b->size;
    }
    UNLOCK;
    release_all(all);
    if (!keep) release(b->start);
}

static void *memory_realloc(void *context, void *p, size_t size) {
    if (p == NULL) return memory_malloc(context, size);
    size_t before = HEAD(p)->size;
    void *q = memory_malloc(context, size);
    if (q == NULL) return NULL;
    memcpy(q, p, before < size ? before : size);
    memory_free(context, p, before);
    return q;
}

static PyDataMem_Handler ours = {
    "tinygrad_ed", 1, {NULL, memory_malloc, memory_calloc, memory_realloc, memory_free}};

#ifndef _WIN32                          /* a fork must not copy a lock that another thread holds */
static void before_fork(void) { LOCK; }
static void after_fork(void) { UNLOCK; }
#endif

int memory_prepare(void) {
    PyDataMem_Handler *own = PyCapsule_GetPointer(PyDataMem_DefaultHandler, "mem_handler");
    if (own == NULL) return -1;
    numpys = own->allocator;
#ifndef _WIN32
    pthread_atfork(before_fork, after_fork, after_fork);
#endif
    handler = PyCapsule_New(&ours, "mem_handler", NULL);
    return handler ? 0 : -1;
}

int memory_serve(void) {
    if (!memory.enabled) return 0;
    PyObject *current = PyDataMem_GetHandler();
    if (current == NULL) return -1;
    Py_DECREF(current);
    if (current != PyDataMem_DefaultHandler) return 0;  /* ours, or one that somebody else has chosen */
    PyObject *before = PyDataMem_SetHandler(handler);
    Py_XDECREF(before);
    return before ? 0 : -1;
}

PyObject *memory_limits(PyObject *module, PyObject *args) {
    int enabled;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "pn", &enabled, &limit)) return NULL;
    if (limit < 0) return PyErr_Format(PyExc_ValueError, "the limit is a number of bytes, got %zd", limit);
    LOCK;
    memory.enabled = enabled, memory.limit = (size_t)limit;
    struct block *all = memory.kept > memory.limit || !enabled ? take_all() : NULL;
    UNLOCK;
    release_all(all);
    if (memory_serve() < 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *memory_stats(PyObject *module, PyObject *unused) {
    LOCK;
    size_t kept = memory.kept, used = memory.used, most = memory.most_used, served = memory.served, reused = memory.reused;
    size_t limit = memory.limit;
    UNLOCK;
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n}", "allocated", (Py_ssize_t)used, "peak_allocated", (Py_ssize_t)most, "cached", (Py_ssize_t)kept,
                         "limit", (Py_ssize_t)limit, "requests", (Py_ssize_t)served, "hits", (Py_ssize_t)reused);
}

PyObject *memory_empty(PyObject *module, PyObject *unused) {
    LOCK;
    struct block *all = take_all();
    UNLOCK;
    release_all(all);
    Py_RETURN_NONE;
}
