/* Memory for large arrays, which stays with the process for the next ones when they are gone.

   A fresh array of some megabytes is paid for page by page, when the system first maps them; a training step makes the same arrays again and
   again. Blocks lie side by side in large regions of address space, which have pages only where they have been used. A request takes the smallest
   free block that is large enough, from its beginning, and leaves the rest free; a block that is given back joins its free neighbours. So what one
   computation leaves, arrays of any other size can use, and the process holds hardly more than the arrays that lived at the same time (best fit; Knuth,
   The Art of Computer Programming 1, 2.5). The end of a region, which nobody has used, is the largest free block, and therefore the last choice.

   A free block whose pages would be more than may be kept gives them back to the system. */
#include "heap.h"

#include <stdint.h>

#define REGION ((size_t)256 << 20)      /* bytes of the first; later ones are as large as all before */
#define LEAST ((size_t)1 << 16)         /* less is not cut off from a block */
#define HUGE_PAGE ((size_t)2 << 20)
#define ALIGNMENT 64
#define CLASSES (8 * 64)

static struct heap heap;
static struct block *list[CLASSES];     /* the free blocks */

/* -- the system --------------------------------------------------------------------------------------------------------- */

#ifdef _WIN32
#include <windows.h>
static void *map(size_t size) { return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); }
static void unmap(void *p, size_t size) { (void)size, VirtualFree(p, 0, MEM_RELEASE); }
static void drop_pages(void *p, size_t size) { VirtualAlloc(p, size, MEM_RESET, PAGE_READWRITE); }
static void use_huge_pages(void *p, size_t size) { (void)p, (void)size; }
static size_t page_size(void) { return 4096; }
void heap_lock(void) {}                 /* NumPy allocates while it holds the interpreter lock */
void heap_unlock(void) {}
#else
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
void heap_lock(void) { pthread_mutex_lock(&lock); }
void heap_unlock(void) { pthread_mutex_unlock(&lock); }

static void *map(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
static void unmap(void *p, size_t size) { munmap(p, size); }
static void drop_pages(void *p, size_t size) {
#ifdef __linux__
    madvise(p, size, MADV_DONTNEED);
#else
    madvise(p, size, MADV_FREE);
#endif
}
static void use_huge_pages(void *p, size_t size) {
#ifdef MADV_HUGEPAGE
    madvise(p, size, MADV_HUGEPAGE);
#else
    (void)p, (void)size;
#endif
}
static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
#endif

/* The whole pages between two addresses. */
static char *pages(void *begin, void *end, size_t *size) {
    uintptr_t page = page_size(), first = ((uintptr_t)begin + page - 1) / page * page, last = (uintptr_t)end / page * page;
    *size = last > first ? last - first : 0;
    return (char *)first;
}

/* -- free blocks -------------------------------------------------------------------------------------------------------- */

/* Classes are an eighth of a power of two apart: the number of that with k·2^e <= size < (k + 1)·2^e, k in 8...15. */
static size_t class_of(size_t size) {
    size_t e = 0;
    while (size >> e >= 16) e++;
    return 8 * e + (size >> e);
}

BOOKS static void enlist(struct block *b) {
    struct block **first = &list[class_of(b->size)];
    b->kind = FREE, b->previous = NULL, b->next = *first;
    if (*first) (*first)->previous = b;
    *first = b;
    heap.kept += b->touched;
}

BOOKS static void delist(struct block *b) {
    if (b->previous) b->previous->next = b->next;
    else list[class_of(b->size)] = b->next;
    if (b->next) b->next->previous = b->previous;
    heap.kept -= b->touched;
}

/* The smallest free block of so many bytes, or NULL. */
BOOKS static struct block *smallest(size_t size) {
    struct block *found = NULL;
    for (size_t c = class_of(size); c < CLASSES && found == NULL; c++)
        for (struct block *b = list[c]; b; b = b->next) {
            if (b->size == size) return b;
            if (b->size > size && (found == NULL || b->size < found->size)) found = b;
        }
    return found;
}

/* Leave so many bytes to a block, and make a free one of the rest. */
BOOKS static void cut(struct block *b, size_t size) {
    struct block *rest = (struct block *)((char *)b + size);
    rest->left = b, rest->right = b->right;
    if (b->right) b->right->left = rest;
    b->right = rest;
    rest->size = b->size - size, rest->touched = b->touched > size ? b->touched - size : 0;
    b->size = size;
    if (b->touched > size) b->touched = size;
    enlist(rest);
}

/* Join a block to its right neighbour; neither is on a list. */
BOOKS static void join(struct block *b) {
    struct block *right = b->right;
    b->touched = right->touched ? b->size + right->touched : b->touched;
    b->size += right->size;
    b->right = right->right;
    if (b->right) b->right->left = b;
}

/* A new region, as one block, or NULL. */
BOOKS static struct block *region(size_t size) {
    size_t wanted = heap.mapped > REGION ? heap.mapped : REGION;
    if (wanted < size) wanted = size;
    wanted = (wanted + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    struct block *b = map(wanted);
    if (b == NULL) b = map(wanted = (size + LEAST - 1) / LEAST * LEAST);       /* where address space is limited */
    if (b == NULL) return NULL;
    b->left = b->right = NULL;
    b->size = wanted, b->touched = 0;
    heap.mapped += wanted;
    CLOSE(b, wanted);
    return b;
}

/* Give the system back the pages of a free block, or its region if that is all free. The lock is held. */
BOOKS static void drop(struct block *b) {
    if (b->left == NULL && b->right == NULL) {
        delist(b);
        heap.mapped -= b->size;
        OPEN(b, b->size);
        unmap(b, b->size);
    } else if (b->touched) {
        size_t size;
        char *first = pages(b + 1, (char *)b + b->size, &size);
        if (size) drop_pages(first, size);
        heap.kept -= b->touched;
        b->touched = 0;
    }
}

BOOKS static void drop_all(void) {
    for (size_t c = 0; c < CLASSES; c++)
        for (struct block *b = list[c], *next; b; b = next) {
            next = b->next;
            drop(b);
        }
}

/* -- what others call --------------------------------------------------------------------------------------------------- */

BOOKS void *heap_take(size_t size) {
    size_t bytes = (size + sizeof(struct block) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    heap_lock();
    struct block *b = smallest(bytes);
    if (b) delist(b);
    else if ((b = region(bytes)) == NULL) {             /* perhaps there is room in what is kept */
        drop_all();
        b = region(bytes);
    }
    if (b) {
        if (b->size - bytes >= LEAST) cut(b, bytes);
        heap.reused += b->touched == b->size;
        if (b->touched < b->size && b->size >= 2 * HUGE_PAGE) {                 /* huge pages, where the system has them */
            char *first = pages(b, (char *)b + b->size, &bytes);
            use_huge_pages(first, bytes);
        }
        b->kind = TAKEN, b->touched = b->size, b->wanted = size;
        heap.served++;
        heap.used += b->size;
        if (heap.used > heap.most_used) heap.most_used = heap.used;
        OPEN(b + 1, size);
    }
    heap_unlock();
    return b ? b + 1 : NULL;
}

BOOKS void heap_give(void *p) {
    struct block *b = HEAD(p);
    heap_lock();
    CLOSE(b, b->size);
    heap.used -= b->size;
    if (b->right && b->right->kind == FREE) {
        delist(b->right);
        join(b);
    }
    if (b->left && b->left->kind == FREE) {
        b = b->left;
        delist(b);
        join(b);
    }
    enlist(b);
    if (heap.kept > heap.limit) drop(b);
    heap_unlock();
}

void heap_empty(void) {
    heap_lock();
    drop_all();
    heap_unlock();
}

void heap_keep(size_t limit) {
    heap_lock();
    heap.limit = limit;
    if (heap.kept > limit) drop_all();
    heap_unlock();
}

struct heap heap_figures(void) {
    heap_lock();
    struct heap figures = heap;
    heap_unlock();
    return figures;
}
