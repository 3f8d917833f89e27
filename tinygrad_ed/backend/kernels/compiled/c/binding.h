/* What the files share that speak with Python. */
#ifndef BINDING_H
#define BINDING_H

#include <Python.h>

#include "kernel.h"

int run(kernel_call call, const union arg *args, idx n, idx piece);                     /* -1 with an exception set if it fails */
PyObject *multiply(PyObject *module, PyObject *const *given, Py_ssize_t count);         /* multiply.c */

#endif
