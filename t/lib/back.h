/*
 * Back: the part of pgtopk behind the sessions (loop, pools, workers, catalogs),
 * run within the test's own process by calls that wait. Waiting ends after twenty
 * seconds with a failed test.
 */
#ifndef T_LIB_BACK_H
#define T_LIB_BACK_H

#include <stdbool.h>

#include "proxy/catalog.h"
#include "proxy/config.h"
#include "proxy/iobuf.h"
#include "proxy/keyring.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/pool.h"
#include "proxy/worker.h"

struct back {
	struct config *config;
	struct log *log;
	struct loop *loop;
	struct keyring *keyring; /* empty; for the tests to fill */
	struct pools *pools;
	struct catalogs *catalogs;
	struct loop_timer *limit;
};

/* options: keys and values in turn, ended by NULL; on top of the test cluster's coordinator. */
void back_open(struct back *back, const char *const *options);
void back_close(struct back *back);
/* Runs the loop until the flag is set. */
void back_wait(struct back *back, const bool *flag);
/* Runs the loop for that long. */
void back_idle(struct back *back, unsigned ms);

/* A pool of a cluster's node as a worker. */
struct pool *back_pool(struct back *back, int port);
/* Takes a worker, waiting for it if need be; NULL with *why if refused (*why may be NULL). */
struct worker *back_take(struct back *back, struct pool *pool, const char **why);

/* One job and what it heard. */
struct back_job {
	struct back *back;
	struct worker *worker;
	struct iobuf heard; /* row=1|x,complete 0,error 1 22012,ready */
	bool over;          /* on_ready or on_lost */
	bool lost;
	bool quiet; /* rows are counted, not written */
	unsigned rows;
	size_t bytes;
	char sqlstate[8];
	char why[256];
	void (*hook)(struct back_job *job); /* at every row */
};

void back_begin(struct back_job *job, struct back *back, struct worker *worker);
/* Text in, text out; a parameter of NULL ends them. */
void back_ask(struct back_job *job, unsigned id, const char *sql, ...) __attribute__((sentinel));
/* worker_sync(), and waits for the end. What was heard. */
const char *back_end(struct back_job *job);
void back_fini(struct back_job *job);
/* One statement; what it says, as text(): the values of its first row. */
const char *back_value(struct back *back, struct worker *worker, const char *sql);

/* NULL, or why not. */
const char *back_load(struct back *back, struct catalog *catalog);
const char *back_check(struct back *back, struct catalog *catalog, const char *schema,
                       const char *table);
/* A table of the current map; NULL if it is not there. */
const struct shardmap_table *back_table(struct catalog *catalog, const char *schema,
                                        const char *table);

#endif
