// Who is found under which name on which network. One thread.
#pragma once

#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct names;
struct names *names_new(void);
void names_free(struct names *names);

// `container` is found on `network` under these names (strv, any case) at these addresses; what was said of the two before is replaced.
// PTR gives the first name.
void names_put(struct names *names, const char *network, const char *container, char *const *list,
               const struct ip_address *addresses, size_t address_count);
void names_remove(struct names *names, const char *network, const char *container);

// Between the two everything that is is told again; what was not is removed at the end.
void names_begin(struct names *names);
void names_end(struct names *names);

// Addresses of a family (AF_INET, AF_INET6) that `name` (lower case) has on `network`, appended to list, at most max in all; each call
// begins with another of them, so that askers are spread. true: somebody has the name, be it without such an address.
bool names_find(struct names *names, const char *network, const char *name, int family,
                struct ip_address *list, size_t max, size_t *count);
bool names_is_empty(const struct names *names);
// The first name of whoever has the address on `network`, borrowed until the next change; NULL: nobody.
const char *names_of(const struct names *names, const char *network, const struct ip_address *address);
