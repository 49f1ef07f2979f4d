/*
 * Server_state: a stand-in's state, which server.c (statements) and server_login.c share.
 */
#ifndef T_FUZZ_SERVER_STATE_H
#define T_FUZZ_SERVER_STATE_H

#include "proxy/wire.h"
#include "t/fuzz/answers.h"
#include "t/fuzz/server.h"

struct prepared {
	char *name;
	char *sql;
	unsigned ntypes;
	uint32_t types[64];
	struct prepared *prev, *next;
};

struct portal {
	char *name;
	char *sql;
	char parameter[64]; /* $1 */
	unsigned nformats;
	uint8_t formats[2 * ANSWERS_FIELDS];
	struct answer_shape shape;
	bool rows; /* it gives rows */
	uint64_t at;
	struct portal *prev, *next;
};

struct server {
	unsigned faults;
	bool started, ready;
	struct scram_server *scram;
	struct iobuf in;
	struct iobuf *out; /* buffer */
	struct iobuf buffer;
	struct iobuf *hearer;
	bool failed;  /* skips to the next Sync */
	bool copying; /* reads CopyData */
	bool copying_by_query;
	char status;
	char user[64];
	unsigned messages, executes;
	struct prepared *prepared;
	struct portal *portals;
};

/*
 * As PostgreSQL does: at Sync, Flush and the end of a Query, before it reads COPY data, and
 * with an error. What is in the buffer when it leaves is lost.
 */
void server_flush(struct server *server);
void server_error(struct server *server, const char *severity, const char *sqlstate);

/* server_login.c: false: it hangs up. */
bool server_startup(struct server *server, uint32_t code, const uint8_t *body, size_t len);
bool server_password(struct server *server, uint8_t type, const uint8_t *body, size_t len);

#endif
