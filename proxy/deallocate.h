/*
 * Deallocate: which prepared statement a DEALLOCATE in the simple protocol names.
 * Its CommandComplete does not tell, and statements that are forgotten here for nothing
 * are the coordinator's from then on; some drivers deallocate one all the time.
 * Whatever is not as plain as DEALLOCATE name counts as unknown, and all are forgotten.
 */
#ifndef PROXY_DEALLOCATE_H
#define PROXY_DEALLOCATE_H

#include <stddef.h>

#define DEALLOCATE_NAME 64 /* NAMEDATALEN */

struct deallocate {
	char name[DEALLOCATE_NAME]; /* "": none or unknown */
};

/* A Query of that text is forwarded, while nothing else is on its way. */
void deallocate_note(struct deallocate *deallocate, const char *sql, size_t len);
/* ReadyForQuery: what failed will not be done. */
void deallocate_reset(struct deallocate *deallocate);

#endif
