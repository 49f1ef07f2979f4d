/*
 * Census: how many clients there are of each name (a user, an address), for the
 * limits on them. An entry exists as long as it is not empty.
 */
#ifndef PROXY_CENSUS_H
#define PROXY_CENSUS_H

#include <stdbool.h>

struct census;
struct census_entry;

struct census *census_new(void);
void census_free(struct census *census); /* NULL is allowed; everyone has left */

/* One more of that name. */
struct census_entry *census_enter(struct census *census, const char *name);
unsigned census_count(const struct census_entry *entry);
/* True if nobody of that name is left. NULL: nothing happens. */
bool census_leave(struct census *census, struct census_entry *entry);

#endif
