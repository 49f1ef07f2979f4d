/*
 * Notices: warnings of tables whose shards are not alike, in the log, to the client
 * that wants them, and by --check.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/suite.h"

#define TABLE "uneven"
#define SHARDS 4
#define ASK "SELECT id FROM " TABLE " ORDER BY e <-> '[1,2,3]' LIMIT 5"

static char heard[8192];

static void hear(void *owner, const PGresult *result)
{
	(void)owner;
	snprintf(heard + strlen(heard), sizeof(heard) - strlen(heard), "%s %s %s\n",
	         PQresultErrorField(result, PG_DIAG_SEVERITY),
	         PQresultErrorField(result, PG_DIAG_SQLSTATE),
	         PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static PGconn *client(const struct instance *instance)
{
	PGconn *conn = instance_connect(instance, NULL);

	PQsetNoticeReceiver(conn, hear, NULL);
	heard[0] = '\0';
	return conn;
}

/* cluster_run() does not listen to notices. */
static void ask(PGconn *conn)
{
	PGresult *result = PQexec(conn, ASK);

	cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQresultErrorMessage(result));
	PQclear(result);
}

static void on_shard(unsigned shard, const char *sql)
{
	cluster_run_on(cluster_shard_node(shard), sql);
}

static bool skipped(const char *test)
{
	if (cluster_is_citus())
		SKIP(test, "shards are made by hand here");
	return cluster_is_citus();
}

static void make_table(void)
{
	cluster_shard(TABLE, "id int, e vector(3)", "HASH (id)", SHARDS, 0);
	cluster_run_shards(TABLE, SHARDS, "CREATE INDEX ON @ USING hnsw (e vector_l2_ops)");
}

static void drop_table(void)
{
	cluster_run_on(CLUSTER_COORDINATOR, "DROP TABLE " TABLE);
}

/* Two of the four are not as they should be. */
static void make_uneven(void)
{
	on_shard(1, "DROP INDEX " TABLE "_1_e_idx");
	on_shard(2, "DROP INDEX " TABLE "_2_e_idx; CREATE INDEX ON " TABLE
	            "_2 USING hnsw (e vector_cosine_ops) WITH (m = 8)");
	on_shard(3, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '" TABLE
	            "_3_e_idx'::regclass");
}

#define MISSING                                                                                    \
	"1 of 4 shards has no index hnsw (e) and is scanned sequentially: public." TABLE "_1 on "
#define INVALID                                                                                    \
	"1 of 4 shards has an invalid index hnsw (e) and is scanned sequentially: public." TABLE   \
	"_3 on "
#define UNLIKE "the index hnsw (e) is not the same on all shards: "

Test(notices, what_is_wrong_is_logged_once)
{
	struct instance own;
	PGconn *conn;

	if (skipped("what_is_wrong_is_logged_once"))
		return;
	make_table();
	make_uneven();
	instance_start(&own, NULL);
	conn = client(&own);
	ask(conn);
	instance_await(&own, MISSING);
	instance_await(&own, INVALID);
	instance_await(&own, UNLIKE);
	instance_await(&own, "vector_cosine_ops, m=8, ef_construction=64 on public." TABLE "_2");
	instance_await(&own, "event=table_warning database=postgres table=public." TABLE);
	for (int i = 0; i < 5; i++)
		ask(conn);
	cr_assert_eq(instance_count(&own, "event=table_warning"), 3);
	cr_assert_str_eq(heard, ""); /* nobody asked for it */
	PQfinish(conn);
	instance_stop(&own);
	drop_table();
}

Test(notices, the_client_is_told_once_if_it_wants_to_be)
{
	struct instance own;
	PGconn *conn;

	if (skipped("the_client_is_told_once_if_it_wants_to_be"))
		return;
	make_table();
	make_uneven();
	instance_start(&own, NULL);
	conn = client(&own);
	ask(conn);
	instance_await(&own, UNLIKE);
	ask(conn);
	cr_assert_str_eq(heard, "");
	cluster_run(conn, "SET pgtopk.notices = on");
	ask(conn);
	cr_assert(strstr(heard, "WARNING 01000 table \"public." TABLE "\": " MISSING), "%s", heard);
	cr_assert(strstr(heard, INVALID), "%s", heard);
	cr_assert(strstr(heard, UNLIKE), "%s", heard);
	heard[0] = '\0';
	ask(conn);
	PQclear(PQexecParams(conn, ASK, 0, NULL, NULL, NULL, NULL, 0));
	cr_assert_str_eq(heard, "");
	PQfinish(conn);
	conn = client(&own); /* another session, by the extended protocol */
	cluster_run(conn, "SET pgtopk.notices = on");
	PQclear(PQexecParams(conn, ASK, 0, NULL, NULL, NULL, NULL, 0));
	cr_assert(strstr(heard, MISSING), "%s", heard);
	PQfinish(conn);
	instance_stop(&own);
	drop_table();
}

Test(notices, the_option_is_for_all_sessions)
{
	static const char *const options[] = {"--notices", "on", NULL};
	struct instance own;
	PGconn *conn;

	if (skipped("the_option_is_for_all_sessions"))
		return;
	make_table();
	make_uneven();
	instance_start(&own, options);
	conn = client(&own);
	ask(conn);
	instance_await(&own, UNLIKE);
	cluster_run(conn, "SET pgtopk.notices = off");
	ask(conn);
	cr_assert_str_eq(heard, "");
	cluster_run(conn, "RESET pgtopk.notices");
	ask(conn);
	cr_assert(strstr(heard, MISSING), "%s", heard);
	PQfinish(conn);
	instance_stop(&own);
	drop_table();
}

/* A new map: what was mended is silent, what is new is told. */
Test(notices, the_table_is_looked_at_again_when_the_map_changes)
{
	static const char *const options[] = {"--log-level", "debug", NULL};
	struct instance own;
	PGconn *conn;

	if (skipped("the_table_is_looked_at_again_when_the_map_changes"))
		return;
	make_table();
	instance_start(&own, options);
	conn = client(&own);
	cluster_run(conn, "SET pgtopk.notices = on");
	ask(conn);
	instance_await(&own, "event=inspected");
	make_uneven();
	cluster_run(conn, "ALTER TABLE " TABLE " ADD COLUMN more int");
	cluster_run_shards(TABLE, SHARDS, "ALTER TABLE @ ADD COLUMN more int");
	ask(conn);
	instance_await(&own, MISSING);
	instance_await(&own, UNLIKE);
	cr_assert_str_eq(heard, "");
	ask(conn);
	cr_assert(strstr(heard, MISSING), "%s", heard);
	PQfinish(conn);
	instance_stop(&own);
	drop_table();
}

Test(notices, a_bad_value_is_an_error)
{
	PGconn *conn = instance_connect(instance_shared(), NULL);
	PGresult *result = PQexec(conn, "SET pgtopk.notices = maybe");

	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
	cr_assert_str_eq(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
	                 "parameter \"pgtopk.notices\" requires a Boolean value");
	PQclear(result);
	PQfinish(conn);
}

Test(notices, check_prints_them)
{
	char line[2048], all[16384] = "";
	FILE *out;

	if (skipped("check_prints_them"))
		return;
	make_table();
	make_uneven();
	out = popen(text("%s/pgtopk --coordinator 'host=127.0.0.1 port=%d user=postgres "
	                 "dbname=postgres' --check 2>&1",
	                 getenv("PGTOPK_BUILDDIR"), cluster_port(CLUSTER_COORDINATOR)),
	            "r");
	while (fgets(line, sizeof(line), out))
		strncat(all, line, sizeof(all) - strlen(all) - 1);
	cr_assert_eq(pclose(out), 0, "%s", all);
	cr_assert(strstr(all, "table public." TABLE ": WARNING: " MISSING), "%s", all);
	cr_assert(strstr(all, INVALID), "%s", all);
	cr_assert(strstr(all, UNLIKE), "%s", all);
	cr_assert(strstr(all, "\n3 warnings\n"), "%s", all);
	drop_table();
}

/* Citus hides shards from pg_class, and names them itself. */
Test(notices, shards_of_citus_are_seen)
{
	struct instance own;
	PGconn *conn;
	const char *shard;
	int port;

	if (!cluster_is_citus()) {
		SKIP("shards_of_citus_are_seen", "no Citus");
		return;
	}
	conn = cluster_connect(CLUSTER_COORDINATOR, NULL);
	cluster_shard(TABLE, "id int, e vector(3)", "HASH (id)", SHARDS, 0);
	cluster_run(conn, "CREATE INDEX " TABLE "_e ON " TABLE " USING hnsw (e vector_l2_ops)");
	shard = cluster_value(conn, "SELECT shardid FROM citus_shards "
	                            "WHERE table_name = '" TABLE "'::regclass ORDER BY 1");
	port = atoi(cluster_value(
	    conn, text("SELECT nodeport FROM citus_shards WHERE shardid = %s", shard)));
	PQfinish(conn);
	conn = cluster_connect_port(port, NULL);
	cluster_run(conn, text("SET citus.enable_manual_changes_to_shards = on; "
	                       "DROP INDEX " TABLE "_e_%s",
	                       shard));
	PQfinish(conn);
	instance_start(&own, NULL);
	conn = client(&own);
	ask(conn);
	instance_await(&own, text("1 of 4 shards has no index hnsw (e) and is scanned "
	                          "sequentially: public." TABLE "_%s on ",
	                          shard));
	cr_assert_eq(instance_count(&own, "event=table_warning"), 1);
	PQfinish(conn);
	instance_stop(&own);
	drop_table();
}
