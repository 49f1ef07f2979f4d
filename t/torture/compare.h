/*
 * Compare: two servers' replies to one step.
 *
 * Everything must be the same, message by message. OIDs of types and tables of the
 * user's are compared by name, because they differ between databases. Rows may
 * differ where the order leaves a choice: a row's rank in the complete answer
 * must be the one that its place has.
 */
#ifndef T_TORTURE_COMPARE_H
#define T_TORTURE_COMPARE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "t/torture/script.h"
#include "t/torture/talk.h"

struct compare_oids {
	PGresult *result;                /* oid, name of all types that are not built in */
	uint32_t vectors[VALUE_VECTORS]; /* OIDs of pgvector's; 0: bit is not one of them */
	bool no_origin;                  /* which table a field is of does not matter */
};

void compare_load(struct compare_oids *oids, PGconn *conn);
void compare_unload(struct compare_oids *oids);

/* Every byte. NULL: no difference. */
const char *compare_bytes(const struct talk_reply *got, const struct talk_reply *wanted,
                          struct arena *arena);
/* Everything but what is in DataRows; NULL: no difference. */
const char *compare_messages(const struct talk_reply *got, const struct compare_oids *got_oids,
                             const struct talk_reply *wanted,
                             const struct compare_oids *wanted_oids, struct arena *arena);

/* The part of a step's reply that answers one call, from its BindComplete on. */
struct talk_reply compare_call(const struct talk_reply *reply, const struct script_step *step,
                               unsigned call, struct arena *arena);

/* Its DataRows. */
struct compare_rows {
	unsigned count;
	const struct talk_message **rows;
};
struct compare_rows compare_rows_of(const struct talk_reply *reply, struct arena *arena);
bool compare_rows_same(const struct compare_rows *got, const struct compare_rows *wanted);

/* Of rows that an index may have missed some of. */
struct compare_recall {
	unsigned rows, found;
};

/*
 * `all` has one more column than the others, the rank. Both must fit its order;
 * recall is NULL where got may have none but the nearest rows.
 */
const char *compare_ranked(const struct compare_rows *got, const struct compare_rows *wanted,
                           const struct compare_rows *all, struct compare_recall *recall,
                           struct arena *arena);

/* A reply as text, for people. */
const char *compare_text(const struct talk_reply *reply, struct arena *arena);

#endif
