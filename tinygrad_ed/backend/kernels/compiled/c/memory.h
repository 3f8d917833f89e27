/* NumPy's memory for large arrays, kept for the next ones. Functions of the module, but for the first two. */
#ifndef MEMORY_H
#define MEMORY_H

#include <Python.h>

int memory_prepare(void);               /* at import; -1 with an exception set if it fails */
int memory_serve(void);                 /* let NumPy use this memory in the running context */

PyObject *memory_limits(PyObject *module, PyObject *args);
PyObject *memory_stats(PyObject *module, PyObject *unused);
PyObject *memory_empty(PyObject *module, PyObject *unused);

#endif
