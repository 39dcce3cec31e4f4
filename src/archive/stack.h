// Directories laid over each other, read as overlay shows them, without a mount: layers that are compared or merged. Source:
// Documentation/filesystems/overlayfs.rst (whiteouts, opaque directories).
#pragma once

#include "archive/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct stack_member {
    int fd;       // of the directory, O_PATH will do
    size_t layer; // a number by which the caller knows it
};
// One directory: what shows through, topmost first.
struct stack {
    struct stack_member *members;
    size_t count;
};
// Takes fd, whatever happens.
void stack_push(struct stack *stack, int fd, size_t layer);
void stack_done(struct stack *stack); // closes the descriptors
// Does overlay show nothing of what lies below this directory?
bool stack_is_opaque(int fd);

enum stack_kind { STACK_ABSENT, STACK_WHITEOUT, STACK_OBJECT };
struct stack_entry {
    enum stack_kind kind; // the rest is of an object
    int fd;               // O_PATH, of the topmost one
    struct stat st;
    size_t layer;
    bool
        hides_below; // nothing that lies below the whole stack would show through: a file, or opaque in some way
    struct stack children; // of a directory
};
// What `name` (one component) is. 0 or -errno; *ret is to be released after 0 only.
int stack_lookup(const struct stack *stack, const char *name, struct stack_entry *ret);
void stack_entry_done(struct stack_entry *entry);
// The names in the members for which wants() is true (NULL: in all), each once, in byte order; whiteouts are names, too. 0 or -errno.
int stack_names(const struct stack *stack, bool (*wants)(void *context, size_t layer), void *context,
                struct names *ret);
// Add names to sorted ones: the union, each once.
void names_unite(struct names *into, struct names *other);
