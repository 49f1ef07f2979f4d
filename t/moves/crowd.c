/*
 * Crowd: see crowd.h.
 */
#include "t/moves/crowd.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t/lib/cluster.h"
#include "t/moves/ledger.h"

#define WRITERS 3
#define READERS 5
#define CLIENTS (WRITERS + READERS)
#define CONNECT_AGAIN_US (100 * 1000)
/* An error has told the client; what it had sent may need a moment to end everywhere. */
#define LOOK_AFTER_US (300 * 1000)

enum doing {
	NOTHING,
	READING,
	WRITING,
	CONTROLLING, /* BEGIN or COMMIT */
};

struct client {
	PGconn *conn; /* NULL: to be connected */
	bool writer;
	enum doing doing;
	uint64_t sent_us;
	uint64_t not_before_us; /* a pause, or until it is connected again */
	struct ledger_question question;
	unsigned id;    /* that is written */
	bool uncertain; /* whether it was */
	unsigned left;  /* reads in this block */
	bool in_block;
	PGresult *result; /* the last one */
};

struct crowd {
	struct instance *instance;
	struct ledger *ledger;
	struct dice dice;
	bool errors;
	struct client clients[CLIENTS];
	unsigned versions[LEDGER_ITEMS];
	struct crowd_counts counts;
};

struct crowd *crowd_new(struct instance *instance, uint64_t seed, bool errors)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	cr_assert_not_null(crowd);
	crowd->instance = instance;
	crowd->ledger = ledger_new();
	crowd->errors = errors;
	dice_init(&crowd->dice, seed, 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		crowd->clients[i].writer = i < WRITERS;
	return crowd;
}

static void disconnect(struct client *client)
{
	PQclear(client->result);
	client->result = NULL;
	PQfinish(client->conn);
	client->conn = NULL;
	client->in_block = false;
	client->left = 0;
	client->doing = NOTHING;
}

void crowd_free(struct crowd *crowd)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		disconnect(&crowd->clients[i]);
	ledger_free(crowd->ledger);
	free(crowd);
}

const struct crowd_counts *crowd_counts(const struct crowd *crowd)
{
	return &crowd->counts;
}

static void is_wrong(struct crowd *crowd, const char *what)
{
	crowd->counts.wrong++;
	printf("WRONG: %s\n", what);
	fflush(stdout);
}

/* ---- what is sent ---- */

static void sent(struct client *client, enum doing doing, int ok)
{
	client->doing = doing;
	client->sent_us = ledger_now_us();
	if (!ok) /* lost: the answer will say so */
		client->not_before_us = 0;
}

static void send_question(struct crowd *crowd, struct client *client)
{
	static const unsigned limits[] = {5, 10, 60, LEDGER_ITEMS + 50};
	struct ledger_question *question = &client->question;
	const char *point, *sql;

	for (int i = 0; i < 3; i++)
		question->point[i] = (int)dice_below(&crowd->dice, 256);
	question->limit = DICE_PICK(&crowd->dice, limits);
	question->sent_us = ledger_now_us();
	point = text("[%d,%d,%d]", question->point[0], question->point[1], question->point[2]);
	if (dice_chance(&crowd->dice, 50)) {
		sql =
		    text("SELECT id, version, e FROM " CROWD_TABLE " ORDER BY e <-> '%s' LIMIT %u",
		         point, question->limit);
		sent(client, READING, PQsendQuery(client->conn, sql));
		return;
	}
	sql = text("SELECT id, version, e FROM " CROWD_TABLE " ORDER BY e <-> $1::vector LIMIT %u",
	           question->limit);
	sent(client, READING, PQsendQueryParams(client->conn, sql, 1, NULL, &point, NULL, NULL, 0));
}

static void read_something(struct crowd *crowd, struct client *client)
{
	if (client->in_block && client->left == 0) {
		client->in_block = false;
		sent(client, CONTROLLING, PQsendQuery(client->conn, "COMMIT"));
	} else if (!client->in_block && dice_chance(&crowd->dice, 10)) {
		client->in_block = true;
		client->left = (unsigned)dice_between(&crowd->dice, 2, 6);
		sent(client, CONTROLLING, PQsendQuery(client->conn, "BEGIN"));
	} else {
		client->left -= client->left > 0;
		send_question(crowd, client);
	}
}

/* Each writer has items of its own. */
static void write_something(struct crowd *crowd, struct client *client)
{
	unsigned number = (unsigned)(client - crowd->clients);
	unsigned id = dice_below(&crowd->dice, LEDGER_ITEMS / WRITERS) * WRITERS + number;
	unsigned before = ledger_version(crowd->ledger, id);
	unsigned version = ++crowd->versions[id];
	const char *vector = ledger_vector(id, version), *sql;

	if (before == LEDGER_DELETED) {
		sql = text("INSERT INTO " CROWD_TABLE " (id, version, e) VALUES (%u, %u, '%s')", id,
		           version, vector);
	} else if (dice_chance(&crowd->dice, 25)) {
		sql = text("DELETE FROM " CROWD_TABLE " WHERE id = %u", id);
		version = LEDGER_DELETED;
	} else {
		sql = text("UPDATE " CROWD_TABLE " SET version = %u, e = '%s' WHERE id = %u",
		           version, vector, id);
	}
	client->id = id;
	ledger_begin(crowd->ledger, id, version);
	sent(client, WRITING, PQsendQuery(client->conn, sql));
}

/* ---- connections ---- */

static void ignore(void *owner, const char *message)
{
	(void)owner;
	(void)message;
}

static void connect_client(struct crowd *crowd, struct client *client)
{
	client->conn = PQconnectdb(text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                                "connect_timeout=5",
	                                crowd->instance->port));
	PQsetNoticeProcessor(client->conn, ignore, NULL);
	if (PQstatus(client->conn) == CONNECTION_OK)
		return;
	if (!crowd->errors)
		is_wrong(crowd, PQerrorMessage(client->conn));
	crowd->counts.errors++;
	disconnect(client);
	client->not_before_us = ledger_now_us() + CONNECT_AGAIN_US;
}

/* What became of a write that ended without a word, asked of the coordinator itself. */
static void look(struct crowd *crowd, struct client *client)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                                "connect_timeout=5 options='-c statement_timeout=5s'",
	                                cluster_port(CLUSTER_COORDINATOR)));
	PGresult *result =
	    PQexec(conn, text("SELECT version FROM " CROWD_TABLE " WHERE id = %u", client->id));
	unsigned version = LEDGER_DELETED;

	client->not_before_us = ledger_now_us() + LOOK_AFTER_US;
	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		if (PQntuples(result) > 0)
			version = (unsigned)atoi(PQgetvalue(result, 0, 0));
		if (version == ledger_version(crowd->ledger, client->id))
			ledger_committed(crowd->ledger, client->id);
		else
			ledger_undone(crowd->ledger, client->id);
		if (version != ledger_version(crowd->ledger, client->id))
			is_wrong(crowd, text("item %u has version %u after a write that failed",
			                     client->id, version));
		client->uncertain = false;
	}
	PQclear(result);
	PQfinish(conn);
}

/* ---- what is answered ---- */

/* Operator intervention, connections, resources, deadlocks: what killed servers bring about. */
static bool is_excused(const char *sqlstate)
{
	static const char *const classes[] = {"08", "53", "57", "58", "40"};

	for (size_t i = 0; sqlstate && i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return !sqlstate; /* the connection itself */
}

/* What Citus itself says, rarely, to a reader whose table it is changing (PGTOPK_BINARY=none). */
static bool is_of_citus(const PGresult *result)
{
	static const char *const messages[] = {
	    "could not find valid entry for shard",
	    "parameterized queries for SQL functions referencing distributed tables",
	};

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		if (strstr(PQresultErrorMessage(result), messages[i]))
			return true;
	return false;
}

static void failed(struct crowd *crowd, struct client *client)
{
	const char *sqlstate = PQresultErrorField(client->result, PG_DIAG_SQLSTATE);

	crowd->counts.errors++;
	if (!is_of_citus(client->result) && (!crowd->errors || !is_excused(sqlstate)))
		is_wrong(crowd, text("%s%s: error %s: %s", client->writer ? "a writer" : "a reader",
		                     client->in_block ? " in a block" : "",
		                     sqlstate ? sqlstate : "-", PQerrorMessage(client->conn)));
	client->uncertain = client->doing == WRITING;
	disconnect(client);
	client->not_before_us = ledger_now_us() + LOOK_AFTER_US;
}

static void took(struct crowd *crowd, const struct client *client)
{
	unsigned ms = (unsigned)((ledger_now_us() - client->sent_us) / 1000);

	if (ms > crowd->counts.slowest_ms)
		crowd->counts.slowest_ms = ms;
}

static void answered_read(struct crowd *crowd, struct client *client)
{
	const char *why = ledger_check(crowd->ledger, &client->question, client->result);

	crowd->counts.reads++;
	if (why)
		is_wrong(crowd, text("%s%s", client->in_block ? "in a block: " : "", why));
}

static void answered_write(struct crowd *crowd, struct client *client)
{
	crowd->counts.writes++;
	ledger_committed(crowd->ledger, client->id);
	if (strcmp(PQcmdTuples(client->result), "1") != 0)
		is_wrong(crowd, text("a write of item %u found %s rows", client->id,
		                     PQcmdTuples(client->result)));
	client->not_before_us =
	    ledger_now_us() + (uint64_t)dice_below(&crowd->dice, 5000); /* readers come, too */
}

static void answered(struct crowd *crowd, struct client *client)
{
	ExecStatusType status = PQresultStatus(client->result);

	took(crowd, client);
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		failed(crowd, client);
		return;
	}
	if (client->doing == READING)
		answered_read(crowd, client);
	else if (client->doing == WRITING)
		answered_write(crowd, client);
	if (client->in_block)
		client->not_before_us =
		    ledger_now_us() + (uint64_t)dice_below(&crowd->dice, 100000);
	client->doing = NOTHING;
	PQclear(client->result);
	client->result = NULL;
}

static void hear(struct crowd *crowd, struct client *client)
{
	PQconsumeInput(client->conn);
	while (!PQisBusy(client->conn)) {
		PGresult *result = PQgetResult(client->conn);

		if (!result) {
			answered(crowd, client);
			return;
		}
		PQclear(client->result);
		client->result = result;
	}
}

/* ---- everybody ---- */

static bool citus_answers(void)
{
	PGconn *conn = PQconnectdb(text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                                "connect_timeout=2 options='-c statement_timeout=2s'",
	                                cluster_port(CLUSTER_COORDINATOR)));
	PGresult *result = PQexec(conn, "SELECT count(*) FROM " CROWD_TABLE);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;

	PQclear(result);
	PQfinish(conn);
	return ok;
}

/* Nobody hears anything for too long, although the coordinator itself does answer. */
static void watch(struct crowd *crowd, struct client *client)
{
	if (ledger_now_us() - client->sent_us < CROWD_DEADLINE_US)
		return;
	if (citus_answers())
		is_wrong(crowd, text("a client has been %s for %u s",
		                     client->doing == WRITING ? "writing" : "reading",
		                     CROWD_DEADLINE_US / 1000000));
	client->sent_us = ledger_now_us(); /* and again */
}

static void act(struct crowd *crowd, struct client *client)
{
	if (ledger_now_us() < client->not_before_us)
		return;
	if (client->uncertain)
		look(crowd, client);
	else if (!client->conn)
		connect_client(crowd, client);
	else if (client->writer)
		write_something(crowd, client);
	else
		read_something(crowd, client);
}

void crowd_work(struct crowd *crowd, PGconn *other, uint64_t until_us)
{
	while (ledger_now_us() < until_us && (!other || PQisBusy(other))) {
		struct pollfd fds[CLIENTS + 1];

		for (unsigned i = 0; i < CLIENTS; i++) {
			struct client *client = &crowd->clients[i];

			if (client->doing == NOTHING)
				act(crowd, client);
			fds[i].fd = client->doing != NOTHING ? PQsocket(client->conn) : -1;
			fds[i].events = POLLIN;
		}
		fds[CLIENTS].fd = other ? PQsocket(other) : -1;
		fds[CLIENTS].events = POLLIN;
		poll(fds, CLIENTS + 1, 2);
		for (unsigned i = 0; i < CLIENTS; i++)
			if (crowd->clients[i].doing != NOTHING) {
				hear(crowd, &crowd->clients[i]);
				if (crowd->clients[i].doing != NOTHING)
					watch(crowd, &crowd->clients[i]);
			}
		if (other)
			PQconsumeInput(other);
	}
}
