/*
 * Answers: what the stand-in for a server says to a statement: pgtopk's own questions
 * (catalog, facts, greeting) as a cluster would that has one sharded table, any other
 * SELECT with made-up rows. A shard's rows and the coordinator's are the same ones, so
 * that a routed answer can be compared with the coordinator's.
 */
#ifndef T_FUZZ_ANSWERS_H
#define T_FUZZ_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/iobuf.h"
#include "proxy/wire.h"

#define ANSWERS_FIELDS 64
#define ANSWERS_USER "u" /* whose password is known */
#define ANSWERS_VERIFIER                                                                           \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                             \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

/* A statement that gives rows; a view of its text. */
struct answer_shape {
	const char *sql;
	unsigned nfields;
	uint32_t types[ANSWERS_FIELDS];
	uint64_t first, end; /* rows, by number */
	unsigned step;
	bool
	    made; /* of pgtopk's own questions: rows are in `text`, a line each, | between values */
	char text[1024];
};

/* False: it gives no rows. `parameter` is $1 as text or "", `user` who asks. */
bool answers_shape(const char *sql, const char *parameter, const char *user,
                   struct answer_shape *shape);
unsigned answers_parameters(const char *sql);
/* The type of $number (from 1), if the client does not say. */
uint32_t answers_parameter_type(const char *sql, unsigned number);
void answers_put_description(const struct answer_shape *shape, const uint8_t *formats,
                             unsigned nformats, struct iobuf *out);
void answers_put_row(const struct answer_shape *shape, uint64_t row, const uint8_t *formats,
                     unsigned nformats, struct iobuf *out);

#endif
