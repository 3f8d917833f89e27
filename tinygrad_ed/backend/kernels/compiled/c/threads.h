/* Threads that share the pieces of a kernel's work. */
#ifndef THREADS_H
#define THREADS_H

#include "kernel.h"

void parallel_for(kernel_call call, const union arg *args, idx n, idx piece);
void threads_set(int n);
int threads_count(void);

#endif
