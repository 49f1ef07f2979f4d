/*
 * Extended: vector queries in the extended query protocol as libpq speaks it: text
 * and binary, named statements, parameters of every kind, pipelines, errors.
 */
#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "t/lib/oracle.h"
#include "t/lib/suite.h"

#define BY_DISTANCE                                                                                \
	"SELECT id, name, price, made, embedding <-> $1 AS d FROM items "                          \
	"ORDER BY embedding <-> $1 LIMIT "

/* pgvector's binary form of the query vectors of these tests. */
static int binary_vector(const float *values, int n, char *to)
{
	uint16_t head[2] = {htobe16((uint16_t)n), 0};

	memcpy(to, head, sizeof(head));
	for (int i = 0; i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &values[i], sizeof(bits));
		bits = htobe32(bits);
		memcpy(to + 4 + 4 * i, &bits, sizeof(bits));
	}
	return 4 + 4 * n;
}

static const float q8[8] = {1.5f, -2.25f, 3, 0.5f, -1, 4.75f, 2, -3.5f};

Test(extended, text_parameters)
{
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_routed_with(&oracle, BY_DISTANCE "10", Q8, NULL);
	oracle_routed_with(&oracle, BY_DISTANCE "10", Q8_OTHER, NULL);
	oracle_routed_with(
	    &oracle, "SELECT * FROM items WHERE label = $2 ORDER BY embedding <=> $1 LIMIT $3", Q8,
	    "3", "12", NULL);
	oracle_routed_with(&oracle,
	                   "SELECT id FROM items WHERE label = ANY ($1::int[]) "
	                   "ORDER BY embedding <-> $2::vector, id LIMIT $3 OFFSET $4",
	                   "{1,2,3}", Q8, "20", "5", NULL);
	oracle_routed_with(&oracle, "SELECT id FROM items ORDER BY $1 <-> embedding LIMIT 5", Q8,
	                   NULL);
	oracle_routed_with(&oracle, "SELECT id FROM items ORDER BY half <-> $1, id LIMIT 5", Q8,
	                   NULL);
	oracle_routed_with(&oracle, "SELECT id FROM items ORDER BY bits <~> $1, id LIMIT 5", Q_BITS,
	                   NULL);
	oracle_routed_with(&oracle, "SELECT id FROM items ORDER BY sparse <-> $1, id LIMIT 5",
	                   Q_SPARSE, NULL);
	oracle_routed_with(
	    &oracle, "SELECT id FROM items ORDER BY embedding <-> $1::float8[]::vector LIMIT 5",
	    "{1,2,3,4,5,6,7,8.5}", NULL);
	oracle_routed_with(&oracle,
	                   "SELECT id FROM items ORDER BY embedding::halfvec(8) <=> $1, id LIMIT 5",
	                   Q8, NULL);
	oracle_routed_with(&oracle,
	                   "SELECT $2::text, id FROM items WHERE name > $3 AND made < $4 "
	                   "ORDER BY embedding <-> $1 LIMIT 5",
	                   Q8, "h\303\251", "name 5", "2025-01-01 00:00:00", NULL);
	oracle_close(&oracle);
}

Test(extended, no_parameters)
{
	struct oracle oracle;
	struct oracle_call call = {.sql = "SELECT * FROM items ORDER BY embedding <-> '" Q8
	                                  "' LIMIT 10"};

	oracle_open(&oracle);
	oracle_check_call(&oracle, &call, "routed");
	call.result_format = 1;
	oracle_check_call(&oracle, &call, "routed");
	oracle_close(&oracle);
}

Test(extended, trap_14_binary_vector)
{
	char vector[64];
	int32_t limit = (int32_t)htobe32(7);
	int64_t offset = (int64_t)htobe64(3);
	const char *values[] = {vector, (const char *)&limit, (const char *)&offset};
	int lengths[] = {binary_vector(q8, 8, vector), 4, 8}, formats[] = {1, 1, 1};
	Oid types[] = {0, 23, 20};
	struct oracle_call call = {
	    "SELECT * FROM items ORDER BY embedding <-> $1 LIMIT $2 OFFSET $3",
	    3,
	    types,
	    values,
	    lengths,
	    formats,
	    1};
	struct oracle oracle;

	oracle_open(&oracle);
	oracle_check_call(&oracle, &call, "routed");
	call.result_format = 0;
	oracle_check_call(&oracle, &call, "routed");
	limit = (int32_t)htobe32(50);
	offset = 0;
	oracle_check_call(&oracle, &call, "routed");
	oracle_close(&oracle);
}

Test(extended, trap_05_limit_parameter)
{
	static const struct {
		const char *limit, *event;
	} cases[] = {{"1", "routed"},
	             {"2000", "routed"},
	             {" 8 ", NULL},
	             {"0", "limit"},
	             {"-1", "limit"},
	             {NULL, "limit"},
	             {"x", NULL},
	             {"", NULL},
	             {"9223372036854775807", "routed"},
	             {"9223372036854775808", NULL}};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *values[] = {Q8, cases[i].limit};
		const char *sql = "SELECT id FROM items ORDER BY embedding <-> $1, id LIMIT $2";
		struct oracle_call call = {.sql = sql, .nvalues = 2, .values = values};
		const char *difference;
		PGresult *got, *wanted;

		if (cases[i].event) {
			oracle_check_call(&oracle, &call, cases[i].event);
			continue;
		}
		got = PQexecParams(oracle.proxy, sql, 2, NULL, values, NULL, NULL, 0);
		wanted = PQexecParams(oracle.direct, sql, 2, NULL, values, NULL, NULL, 0);
		difference = oracle_difference(got, wanted);
		cr_assert(!difference, "LIMIT '%s': %s", cases[i].limit, difference);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

Test(extended, trap_14_null_and_bad_query_vector)
{
	static const char *const vectors[] = {
	    NULL, "[1,2,3]", "[1,x]", "", "[NaN,1,1,1,1,1,1,1]", "[0,0,0,0,0,0,0,0]"};
	struct oracle oracle;

	oracle_open(&oracle);
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const char *sql = "SELECT id, embedding <=> $1 FROM items ORDER BY 2, id LIMIT 10";
		PGresult *got =
		    PQexecParams(oracle.proxy, sql, 1, NULL, &vectors[i], NULL, NULL, 0);
		PGresult *wanted =
		    PQexecParams(oracle.direct, sql, 1, NULL, &vectors[i], NULL, NULL, 0);
		const char *difference = oracle_difference(got, wanted);

		cr_assert(!difference, "vector '%s': %s", vectors[i] ? vectors[i] : "NULL",
		          difference);
		PQclear(got);
		PQclear(wanted);
		oracle_routed_with(&oracle, BY_DISTANCE "5", Q8, NULL);
	}
	oracle_close(&oracle);
}

Test(extended, wrong_number_of_parameters)
{
	const char *values[] = {Q8, "5", "6"};
	struct oracle oracle;

	oracle_open(&oracle);
	for (int n = 0; n <= 3; n++) {
		const char *sql = "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2";
		PGresult *got = PQexecParams(oracle.proxy, sql, n, NULL, values, NULL, NULL, 0);
		PGresult *wanted = PQexecParams(oracle.direct, sql, n, NULL, values, NULL, NULL, 0);
		const char *difference = oracle_difference(got, wanted);

		cr_assert(!difference, "%d parameters: %s", n, difference);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

/* ---- named statements ---- */

static void execute_both(struct oracle *oracle, const char *name, const char *vector,
                         const char *event)
{
	PGresult *got, *wanted = PQexecPrepared(oracle->direct, name, 1, &vector, NULL, NULL, 0);
	const char *difference;

	instance_skip_log(oracle->instance);
	got = PQexecPrepared(oracle->proxy, name, 1, &vector, NULL, NULL, 0);
	instance_expect(oracle->instance, event, name);
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s", difference);
	PQclear(got);
	PQclear(wanted);
}

static void prepare_both(struct oracle *oracle, const char *name, const char *sql)
{
	PGresult *got, *wanted;
	const char *difference;

	got = PQprepare(oracle->proxy, name, sql, 0, NULL);
	wanted = PQprepare(oracle->direct, name, sql, 0, NULL);
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s", difference);
	PQclear(got);
	PQclear(wanted);
}

Test(extended, named_statement)
{
	struct oracle oracle;

	oracle_open(&oracle);
	prepare_both(&oracle, "near", BY_DISTANCE "10");
	for (int i = 0; i < 8; i++)
		execute_both(&oracle, "near", i % 2 ? Q8 : Q8_OTHER, "routed");
	prepare_both(&oracle, "plain", "SELECT $1::text");
	execute_both(&oracle, "plain", "x", NULL);
	execute_both(&oracle, "near", Q8, "routed");
	prepare_both(&oracle, "bad", BY_DISTANCE "no_such_column");
	execute_both(&oracle, "bad", Q8, NULL);
	execute_both(&oracle, "near", Q8, "routed");
	oracle_close(&oracle);
}

/* A second Parse of a name fails; the first statement is still there. */
Test(extended, named_statement_exists_already)
{
	struct oracle oracle;
	const char *vector = Q8;

	oracle_open(&oracle);
	prepare_both(&oracle, "near", BY_DISTANCE "10");
	prepare_both(&oracle, "near", BY_DISTANCE "11");
	for (int i = 0; i < 2; i++) {
		PGresult *got = PQexecPrepared(oracle.proxy, "near", 1, &vector, NULL, NULL, 0);
		PGresult *wanted = PQexecPrepared(oracle.direct, "near", 1, &vector, NULL, NULL, 0);
		const char *difference = oracle_difference(got, wanted);

		cr_assert(!difference, "%s", difference);
		PQclear(got);
		PQclear(wanted);
	}
	oracle_close(&oracle);
}

Test(extended, describe_prepared)
{
	static const char *const statements[] = {
	    "SELECT *, embedding <-> $1 FROM items ORDER BY embedding <-> $1 LIMIT $2",
	    "SELECT id FROM items WHERE name = $2 AND price > $3 ORDER BY half <=> $1 LIMIT 5",
	    NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *sql = statements; *sql; sql++) {
		for (int named = 0; named < 2; named++) {
			const char *name = named ? text("s%d", (int)(sql - statements)) : "";
			PGresult *got, *wanted;
			const char *difference;

			prepare_both(&oracle, name, *sql);
			got = PQdescribePrepared(oracle.proxy, name);
			wanted = PQdescribePrepared(oracle.direct, name);
			difference = oracle_difference(got, wanted);
			cr_assert(!difference, "%s: %s", *sql, difference);
			cr_assert_eq(PQnparams(got), PQnparams(wanted));
			for (int i = 0; i < PQnparams(got); i++)
				cr_assert_eq(PQparamtype(got, i), PQparamtype(wanted, i));
			PQclear(got);
			PQclear(wanted);
		}
	}
	oracle_close(&oracle);
}

Test(extended, deallocate_and_discard)
{
	static const char *const ends[] = {"DEALLOCATE near", "DEALLOCATE ALL", "DISCARD ALL",
	                                   "BEGIN; DEALLOCATE near; ROLLBACK", NULL};
	struct oracle oracle;

	oracle_open(&oracle);
	for (const char *const *end = ends; *end; end++) {
		prepare_both(&oracle, "near", BY_DISTANCE "10");
		execute_both(&oracle, "near", Q8, "routed");
		cluster_run(oracle.proxy, *end);
		cluster_run(oracle.direct, *end);
		execute_both(&oracle, "near", Q8, NULL); /* does not exist */
	}
	prepare_both(&oracle, "near", BY_DISTANCE "10");
	execute_both(&oracle, "near", Q8, "routed");
	oracle_close(&oracle);
}

/* psycopg deallocates the least recently used one, by SQL. */
Test(extended, deallocating_one_leaves_the_others_routed)
{
	struct oracle oracle;

	oracle_open(&oracle);
	prepare_both(&oracle, "_pg3_0", BY_DISTANCE "10");
	prepare_both(&oracle, "_pg3_1", BY_DISTANCE "11");
	execute_both(&oracle, "_pg3_0", Q8, "routed");
	cluster_run(oracle.proxy, "DEALLOCATE _pg3_0");
	cluster_run(oracle.direct, "DEALLOCATE _pg3_0");
	execute_both(&oracle, "_pg3_1", Q8, "routed");
	execute_both(&oracle, "_pg3_0", Q8, NULL); /* does not exist */
	oracle_close(&oracle);
}

/* A statement prepared by the protocol is known to EXECUTE, one of PREPARE to Bind. */
Test(extended, sql_execute)
{
	struct oracle oracle;
	PGresult *got, *wanted;
	const char *difference;

	oracle_open(&oracle);
	prepare_both(&oracle, "near", "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10");
	execute_both(&oracle, "near", Q8, "routed");
	got = PQexec(oracle.proxy, "EXECUTE near ('" Q8 "')");
	wanted = PQexec(oracle.direct, "EXECUTE near ('" Q8 "')");
	difference = oracle_difference(got, wanted);
	cr_assert(!difference, "%s", difference);
	PQclear(got);
	PQclear(wanted);
	cluster_run(oracle.proxy,
	            "PREPARE by_sql AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10");
	cluster_run(oracle.direct,
	            "PREPARE by_sql AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10");
	instance_skip_log(oracle.instance);
	execute_both(&oracle, "by_sql", Q8, NULL);
	oracle_close(&oracle);
}

/* ---- libpq's pipeline mode ---- */

enum step { VECTOR, PLAIN, NAMED, WRONG, SYNC };

static void queue(PGconn *conn, enum step step, int i)
{
	const char *vector = step == WRONG ? "[1,2]" : i % 2 ? Q8 : Q8_OTHER;
	const char *number = text("%d", i);

	switch (step) {
	case VECTOR:
	case WRONG:
		cr_assert(
		    PQsendQueryParams(conn, BY_DISTANCE "10", 1, NULL, &vector, NULL, NULL, i % 2));
		break;
	case NAMED:
		cr_assert(PQsendQueryPrepared(conn, "near", 1, &vector, NULL, NULL, 0));
		break;
	case PLAIN:
		cr_assert(PQsendQueryParams(conn, "SELECT $1::int + 1 AS n", 1, NULL, &number, NULL,
		                            NULL, 0));
		break;
	case SYNC:
		cr_assert(PQpipelineSync(conn));
		break;
	}
}

/* Results of both connections, one after another, until the pipeline is empty. */
static void collect(struct oracle *oracle, size_t nsteps)
{
	for (size_t i = 0; i < nsteps; i++) {
		for (;;) {
			PGresult *got = PQgetResult(oracle->proxy);
			PGresult *wanted = PQgetResult(oracle->direct);
			const char *difference;

			cr_assert_eq(got == NULL, wanted == NULL, "step %zu", i);
			if (!got)
				break;
			difference = oracle_difference(got, wanted);
			cr_assert(!difference, "step %zu: %s", i, difference);
			bool sync = PQresultStatus(got) == PGRES_PIPELINE_SYNC;

			PQclear(got);
			PQclear(wanted);
			if (sync)
				break;
		}
	}
}

static void run_pipeline(struct oracle *oracle, const enum step *steps, size_t nsteps)
{
	cr_assert(PQenterPipelineMode(oracle->proxy) && PQenterPipelineMode(oracle->direct));
	for (size_t i = 0; i < nsteps; i++) {
		queue(oracle->proxy, steps[i], (int)i);
		queue(oracle->direct, steps[i], (int)i);
	}
	collect(oracle, nsteps);
	cr_assert(PQexitPipelineMode(oracle->proxy) && PQexitPipelineMode(oracle->direct));
}

#define PIPELINE(routed, ...)                                                                      \
	do {                                                                                       \
		static const enum step steps[] = {__VA_ARGS__};                                    \
		instance_skip_log(oracle.instance);                                                \
		run_pipeline(&oracle, steps, sizeof(steps) / sizeof(steps[0]));                    \
		if (oracle.instance->pid)                                                          \
			cr_assert_eq(instance_count(oracle.instance, " event=routed "), routed,    \
			             "%s: %u routed", #__VA_ARGS__,                                \
			             instance_count(oracle.instance, " event=routed "));           \
	} while (0)

Test(extended, trap_15_pipeline)
{
	struct oracle oracle;

	oracle_open(&oracle);
	prepare_both(&oracle, "near", BY_DISTANCE "10");
	PIPELINE(1, VECTOR, SYNC);
	PIPELINE(3, VECTOR, VECTOR, VECTOR, SYNC);
	PIPELINE(3, NAMED, VECTOR, NAMED, SYNC);
	PIPELINE(2, VECTOR, SYNC, NAMED, SYNC);
	PIPELINE(1, VECTOR, PLAIN, SYNC);
	PIPELINE(1, PLAIN, SYNC, VECTOR, SYNC);
	PIPELINE(0, PLAIN, VECTOR, SYNC);
	PIPELINE(0, PLAIN, NAMED, PLAIN, SYNC);
	PIPELINE(2, VECTOR, PLAIN, VECTOR, SYNC, VECTOR, SYNC);
	oracle_close(&oracle);
}

Test(extended, trap_15_pipeline_after_an_error)
{
	struct oracle oracle;

	oracle_open(&oracle);
	prepare_both(&oracle, "near", BY_DISTANCE "10");
	PIPELINE(0, WRONG, SYNC);
	PIPELINE(1, WRONG, VECTOR, PLAIN, SYNC, VECTOR, SYNC);
	PIPELINE(2, VECTOR, WRONG, NAMED, SYNC, NAMED, SYNC);
	PIPELINE(1, PLAIN, WRONG, PLAIN, VECTOR, SYNC, PLAIN, SYNC, NAMED, SYNC);
	PIPELINE(1, VECTOR, PLAIN, WRONG, SYNC, PLAIN, SYNC);
	oracle_close(&oracle);
}
