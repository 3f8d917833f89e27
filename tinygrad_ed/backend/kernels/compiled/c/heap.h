/* Memory for large arrays, which stays with the process for the next ones when they are gone. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>

struct block {                          /* what lies right before the memory that is handed out */
    struct block *left, *right;         /* its neighbours in its region */
    struct block *next, *previous;      /* on the list of its class, while it is free */
    size_t touched;                     /* so many bytes at its beginning have been used before, and have pages; at most */
    size_t wanted;                      /* bytes that were asked for */
    size_t kind;                        /* SMALL is for who hands out memory that is not from here, behind the last two words of a block */
    size_t size;                        /* bytes, with these */
};
enum { SMALL, TAKEN, FREE };
#define HEAD(p) ((struct block *)((char *)(p) - sizeof(struct block)))

struct heap {
    size_t limit;                       /* bytes that may be kept */
    size_t kept, used, most_used;       /* bytes with pages in free blocks; in taken blocks, now and at most */
    size_t served, reused;              /* blocks taken, and how many of them had been used before */
    size_t mapped;                      /* bytes of all regions */
};

void *heap_take(size_t size);           /* NULL if there is none */
void heap_give(void *p);
void heap_empty(void);                  /* give the system back what is free */
void heap_keep(size_t limit);           /* keep no more than that from now on */
struct heap heap_figures(void);
void heap_lock(void);                   /* around a fork, which must not copy a lock that another thread holds */
void heap_unlock(void);

/* In a build with AddressSanitizer, what nobody may use is closed; the functions that keep the books may. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define BOOKS __attribute__((no_sanitize_address))
#define CLOSE(p, size) ASAN_POISON_MEMORY_REGION(p, size)
#define OPEN(p, size) ASAN_UNPOISON_MEMORY_REGION(p, size)
#else
#define BOOKS
#define CLOSE(p, size) ((void)0)
#define OPEN(p, size) ((void)0)
#endif

#endif
