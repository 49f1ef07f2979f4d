/*
 * Messages: sequences of the extended protocol that libpq does not send: portals with
 * a row count, Flush instead of Sync, mixed formats, messages out of order, input cut
 * at every byte. Through pgtopk and direct, byte for byte.
 */
#include <string.h>

#include "t/lib/pair.h"
#include "t/lib/suite.h"

#define VECTOR_SQL                                                                                 \
	"SELECT id, name, embedding <-> $1 AS d FROM items ORDER BY embedding <-> $1 LIMIT "
#define TEXT(string) string, -2

static const struct raw_value q8[] = {{TEXT(Q8)}};
static const struct raw_value q8_other[] = {{TEXT(Q8_OTHER)}};

static void parse(struct iobuf *out, const char *name, const char *sql)
{
	wire_put_parse(out, name, sql, strlen(sql), 0, NULL);
}

static void bind(struct iobuf *out, const char *portal, const char *statement)
{
	raw_put_bind(out, portal, statement, q8, 1, 0, 0);
}

/* Parse, Bind, Describe, Execute of the unnamed ones. */
static void vector_query(struct iobuf *out)
{
	const char *vector = Q8;

	raw_put_statement(out, VECTOR_SQL "5", 1, &vector);
}

static void plain_query(struct iobuf *out)
{
	const char *number = "41";

	raw_put_statement(out, "SELECT $1::int + 1", 1, &number);
}

static void sync_message(struct iobuf *out)
{
	wire_put_bare(out, WIRE_FE_Sync);
}

Test(messages, execute_with_row_count)
{
	static const uint32_t counts[][4] = {{3, 3, 3, 3}, {4, 0},    {10, 1},      {11, 1},
	                                     {1, 1, 1, 0}, {9, 1, 1}, {2147483647}, {10, 0, 0}};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct pair pair;

		pair_open(&pair);
		parse(&pair.out, "", VECTOR_SQL "10");
		bind(&pair.out, "", "");
		wire_put_describe(&pair.out, 'P', "");
		for (int j = 0; j < 4; j++)
			wire_put_execute(&pair.out, "", counts[i][j]);
		pair_sync(&pair);
		pair_expect_routed(&pair, 1);
		wire_put_execute(&pair.out, "", 0); /* gone with Sync */
		pair_sync(&pair);
		pair_close(&pair);
	}
}

Test(messages, row_count_with_flush)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair.out, "s", VECTOR_SQL "10");
	bind(&pair.out, "p", "s");
	for (int i = 0; i < 3; i++) {
		wire_put_execute(&pair.out, "p", 3);
		wire_put_bare(&pair.out, WIRE_FE_Flush);
		pair_talk(&pair, WIRE_BE_PortalSuspended, 1);
	}
	wire_put_execute(&pair.out, "p", 3);
	wire_put_bare(&pair.out, WIRE_FE_Flush);
	pair_talk(&pair, WIRE_BE_CommandComplete, 1);
	pair_expect_routed(&pair, 1);
	pair_sync(&pair);
	pair_close(&pair);
}

/* Each message followed by Flush: the client waits for each reply. */
Test(messages, flush_after_each)
{
	for (int round = 0; round < 4; round++) {
		bool named = round % 2, bind_shown = round / 2;
		const char *name = named ? "s" : "";
		struct pair pair;

		pair_open(&pair);
		for (int i = 0; i < 3; i++) {
			if (i == 0 || !named) {
				parse(&pair.out, name, VECTOR_SQL "7");
				wire_put_bare(&pair.out, WIRE_FE_Flush);
				pair_talk(&pair, WIRE_BE_ParseComplete, 1);
			}
			wire_put_describe(&pair.out, 'S', name);
			wire_put_bare(&pair.out, WIRE_FE_Flush);
			pair_talk(&pair, WIRE_BE_RowDescription, 1);
			bind(&pair.out, "", name);
			if (bind_shown) { /* whether its values are any, the coordinator tells */
				wire_put_bare(&pair.out, WIRE_FE_Flush);
				pair_talk(&pair, WIRE_BE_BindComplete, 1);
				wire_put_describe(&pair.out, 'P', "");
				wire_put_bare(&pair.out, WIRE_FE_Flush);
				pair_talk(&pair, WIRE_BE_RowDescription, 1);
			}
			wire_put_execute(&pair.out, "", 0);
			wire_put_bare(&pair.out, WIRE_FE_Flush);
			pair_talk(&pair, WIRE_BE_CommandComplete, 1);
			pair_sync(&pair);
			pair_expect_routed(&pair, bind_shown ? 0 : 1);
		}
		pair_close(&pair);
	}
}

/* As drivers do: Parse, Describe, Sync in one batch, Bind, Execute, Sync in the next. */
Test(messages, sync_between_parse_and_bind)
{
	struct pair pair;

	pair_open(&pair);
	for (int i = 0; i < 3; i++) {
		parse(&pair.out, "", VECTOR_SQL "6");
		wire_put_describe(&pair.out, 'S', "");
		pair_sync(&pair);
		for (int j = 0; j < 2; j++) {
			bind(&pair.out, "", "");
			wire_put_execute(&pair.out, "", 0);
			pair_sync(&pair);
			pair_expect_routed(&pair, 1);
		}
		plain_query(&pair.out);
		pair_sync(&pair);
		bind(&pair.out, "", ""); /* now another statement */
		wire_put_execute(&pair.out, "", 0);
		pair_sync(&pair);
		pair_expect_routed(&pair, 0);
	}
	pair_close(&pair);
}

Test(messages, formats_mixed)
{
	static const uint16_t formats[][4] = {
	    {0, 1, 0, 1}, {1, 0, 1, 0}, {1, 1, 1, 1}, {0, 0, 1, 1}};
	struct pair pair;

	pair_open(&pair);
	for (size_t i = 0; i < 4; i++) {
		size_t mark;

		parse(&pair.out, "",
		      "SELECT id, made, name, price FROM items WHERE label < $2 "
		      "ORDER BY embedding <-> $1 LIMIT 9");
		mark = wire_begin(&pair.out, WIRE_FE_Bind);
		wire_put_string(&pair.out, "");
		wire_put_string(&pair.out, "");
		wire_put_u16(&pair.out, 2);
		wire_put_u16(&pair.out, 0);
		wire_put_u16(&pair.out, 1);
		wire_put_u16(&pair.out, 2);
		wire_put_u32(&pair.out, strlen(Q8));
		wire_put_bytes(&pair.out, Q8, strlen(Q8));
		wire_put_u32(&pair.out, 4);
		wire_put_u32(&pair.out, 6);
		wire_put_u16(&pair.out, 4);
		for (int j = 0; j < 4; j++)
			wire_put_u16(&pair.out, formats[i][j]);
		wire_end(&pair.out, mark);
		wire_put_describe(&pair.out, 'P', "");
		wire_put_execute(&pair.out, "", 0);
		pair_sync(&pair);
		pair_expect_routed(&pair, 1);
	}
	pair_close(&pair);
}

Test(messages, several_portals)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair.out, "s", VECTOR_SQL "6");
	bind(&pair.out, "a", "s");
	raw_put_bind(&pair.out, "b", "s", q8_other, 1, 0, 1);
	wire_put_execute(&pair.out, "a", 2);
	wire_put_execute(&pair.out, "b", 3);
	wire_put_execute(&pair.out, "a", 2);
	wire_put_describe(&pair.out, 'P', "b");
	wire_put_close(&pair.out, 'P', "b");
	wire_put_execute(&pair.out, "a", 0);
	pair_sync(&pair);
	pair_expect_routed(&pair, 2);
	bind(&pair.out, "a", "s");
	bind(&pair.out, "a", "s"); /* exists already */
	wire_put_execute(&pair.out, "a", 0);
	pair_sync(&pair);
	bind(&pair.out, "a", "s");
	wire_put_close(&pair.out, 'S', "s");
	wire_put_execute(&pair.out, "a", 0); /* lives on without its statement */
	pair_sync(&pair);
	bind(&pair.out, "a", "s"); /* but the statement is gone */
	pair_sync(&pair);
	pair_close(&pair);
}

Test(messages, close_and_parse_again)
{
	struct pair pair;

	pair_open(&pair);
	for (int i = 0; i < 3; i++) {
		parse(&pair.out, "s", VECTOR_SQL "6");
		bind(&pair.out, "", "s");
		wire_put_execute(&pair.out, "", 0);
		wire_put_close(&pair.out, 'P', "");
		wire_put_close(&pair.out, 'S', "s");
		wire_put_close(&pair.out, 'S', "never there");
		pair_sync(&pair);
		pair_expect_routed(&pair, 1);
	}
	parse(&pair.out, "s", "SELECT 1");
	wire_put_describe(&pair.out, 'S', "s");
	pair_sync(&pair);
	pair_close(&pair);
}

/*
 * PostgreSQL 18 leaves a transaction open that a Query amid a pipeline should end, and
 * gives XX000 to what comes after the Sync (seen with 18.6, with plain statements too).
 * What is routed leaves it none to forget.
 */
static bool breaks_pipelines_off(void)
{
	PGconn *conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	int version = PQserverVersion(conn);

	PQfinish(conn);
	return version >= 180000;
}

/* An unnamed portal that was not executed yet, and what comes in between. */
Test(messages, trap_15_out_of_order)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair.out, "", VECTOR_SQL "6");
	parse(&pair.out, "", "SELECT 1 WHERE 'x' = $1");
	bind(&pair.out, "", "");
	wire_put_execute(&pair.out, "", 0);
	pair_sync(&pair);
	parse(&pair.out, "", VECTOR_SQL "6");
	bind(&pair.out, "p", "");
	parse(&pair.out, "", "SELECT 2 WHERE 'x' = $1");
	wire_put_execute(&pair.out, "p", 0); /* the vector query still */
	bind(&pair.out, "", "");
	wire_put_execute(&pair.out, "", 0);
	pair_sync(&pair);
	bind(&pair.out, "", "no such statement");
	vector_query(&pair.out);
	pair_sync(&pair);
	wire_put_execute(&pair.out, "no such portal", 0);
	wire_put_query(&pair.out, "SELECT 1");
	pair_sync(&pair);
	if (!breaks_pipelines_off()) {
		vector_query(&pair.out);
		wire_put_query(&pair.out, "SELECT 3"); /* a Query amid an unfinished pipeline */
		pair_sync(&pair);
	}
	wire_put_describe(&pair.out, 'S', "");
	wire_put_describe(&pair.out, 'P', "");
	pair_sync(&pair);
	pair_close(&pair);
}

/* A Query is a Sync of its own: read up to both. */
Test(messages, query_ends_a_pipeline)
{
	struct pair pair;

	if (breaks_pipelines_off()) {
		SKIP("query_ends_a_pipeline", "this server's own answer is wrong");
		return;
	}
	pair_open(&pair);
	vector_query(&pair.out);
	wire_put_query(&pair.out, "SELECT 3");
	sync_message(&pair.out);
	vector_query(&pair.out);
	sync_message(&pair.out);
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 3);
	vector_query(&pair.out);
	wire_put_query(&pair.out, VECTOR_SQL);
	vector_query(&pair.out);
	sync_message(&pair.out);
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 2);
	pair_close(&pair);
}

/* In a transaction the coordinator answers, and its state must be ours. */
Test(messages, trap_10_transaction_block)
{
	struct pair pair;

	pair_open(&pair);
	parse(&pair.out, "s", VECTOR_SQL "6");
	pair_sync(&pair);
	wire_put_query(&pair.out, "BEGIN");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	vector_query(&pair.out);
	bind(&pair.out, "p", "s");
	wire_put_execute(&pair.out, "p", 2);
	pair_sync(&pair);
	wire_put_execute(&pair.out, "p", 2); /* a portal outlives Sync here */
	pair_sync(&pair);
	plain_query(&pair.out);
	raw_put_bind(&pair.out, "", "s", (struct raw_value[]){{TEXT("[1]")}}, 1, 0, 0);
	wire_put_execute(&pair.out, "", 0);
	vector_query(&pair.out);
	pair_sync(&pair);
	vector_query(&pair.out); /* the transaction is aborted */
	pair_sync(&pair);
	wire_put_query(&pair.out, "ROLLBACK");
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1);
	pair_expect_routed(&pair, 1); /* the first */
	vector_query(&pair.out);
	pair_sync(&pair);
	pair_expect_routed(&pair, 1);
	pair_close(&pair);
}

/* Everything at once, for the tests that cut it. */
static void compose_all(struct iobuf *out)
{
	vector_query(out);
	plain_query(out);
	sync_message(out);
	parse(out, "s", VECTOR_SQL "4");
	wire_put_describe(out, 'S', "s");
	bind(out, "p", "s");
	wire_put_execute(out, "p", 3);
	wire_put_execute(out, "p", 3);
	wire_put_close(out, 'S', "s");
	sync_message(out);
	raw_put_bind(out, "", "no such statement", q8, 1, 0, 0);
	vector_query(out);
	sync_message(out);
	wire_put_query(out, "SELECT id FROM items ORDER BY embedding <-> '" Q8 "' LIMIT 3");
	vector_query(out);
	wire_put_bare(out, WIRE_FE_Flush);
	sync_message(out);
}
#define COMPOSED_READY 5

Test(messages, cut_at_every_byte)
{
	struct pair pair;
	size_t len;

	pair_open(&pair);
	compose_all(&pair.out);
	len = iobuf_len(&pair.out);
	pair_talk(&pair, WIRE_BE_ReadyForQuery, COMPOSED_READY);
	pair_expect_routed(&pair, 4);
	pair.repeating = true;
	for (pair.cut = 1; pair.cut < len; pair.cut++) {
		compose_all(&pair.out);
		pair_talk(&pair, WIRE_BE_ReadyForQuery, COMPOSED_READY);
	}
	pair_close(&pair);
}

Test(messages, byte_by_byte)
{
	static const size_t pieces[] = {1, 2, 3, 7, 64};
	struct pair pair;

	pair_open(&pair);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		pair.piece = pieces[i];
		pair.repeating = i > 0;
		compose_all(&pair.out);
		pair_talk(&pair, WIRE_BE_ReadyForQuery, COMPOSED_READY);
		pair_expect_routed(&pair, 4);
	}
	pair_close(&pair);
}

Test(messages, thousands_before_the_first_sync)
{
	struct pair pair;

	pair_open(&pair);
	for (int i = 0; i < 5000; i++)
		plain_query(&pair.out);
	pair_sync(&pair);
	for (int i = 0; i < 200; i++)
		vector_query(&pair.out);
	for (int i = 0; i < 1000; i++)
		plain_query(&pair.out);
	pair_sync(&pair);
	pair_expect_routed(&pair, 200);
	for (int i = 0; i < 1000; i++) {
		plain_query(&pair.out);
		sync_message(&pair.out);
	}
	pair_talk(&pair, WIRE_BE_ReadyForQuery, 1000);
	pair_close(&pair);
}

/* Messages that are not well formed: the server's own words, and it goes on. */
Test(messages, malformed)
{
	static const struct {
		uint8_t type;
		const char *body;
		size_t len;
	} messages[] = {
	    {'P', "s", 1},   {'P', "\0SELECT 1\0\0", 11},
	    {'B', "\0", 1},  {'B', "\0\0\0\0\0\1\0\0\0\377", 10},
	    {'D', "X\0", 2}, {'D', "S", 1},
	    {'E', "", 0},    {'E', "\0\0", 2},
	    {'C', "Q\0", 2}, {'B', "\0\0\0\2\0\0\0\7\0\1\377\377\377\377\0\0", 16},
	};
	struct pair pair;

	pair_open(&pair);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		for (int amid = 0; amid < 2; amid++) {
			size_t mark;

			if (amid)
				parse(&pair.out, "", VECTOR_SQL "6");
			mark = wire_begin(&pair.out, messages[i].type);
			wire_put_bytes(&pair.out, messages[i].body, messages[i].len);
			wire_end(&pair.out, mark);
			pair_sync(&pair);
			vector_query(&pair.out);
			pair_sync(&pair);
		}
	}
	pair_close(&pair);
}
