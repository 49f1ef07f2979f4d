/*
 * Replication and dumps: pg_basebackup, pg_receivewal, pg_recvlogical, pg_dump and
 * pg_restore through pgtopk, with several connections at once. They have a server of
 * their own, as that of the test cluster writes no more WAL than it must.
 */
#include <stdlib.h>
#include <string.h>

#include "t/lib/program.h"
#include "t/lib/suite.h"

#define PORTS_APART 7 /* the cluster has the first three, Citus the fifth to the seventh */

static const char *env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

static int server_port(void)
{
	return cluster_port(CLUSTER_COORDINATOR) + PORTS_APART;
}

static const char *etc_cluster(const char *command)
{
	return text("%s/etc/cluster %s %s/var/replication", env("PGTOPK_SRCDIR", "."), command,
	            env("PGTOPK_BUILDDIR", "."));
}

/* A server that may be replicated, and pgtopk in front of it. */
static void begin(struct instance *instance)
{
	const char *start = text("%s %d 0", etc_cluster("start"), server_port());
	const char *const options[] = {
	    "--coordinator",
	    text("host=127.0.0.1 port=%d user=postgres dbname=postgres", server_port()), NULL};
	PGconn *conn;

	program_must(start);
	conn = cluster_connect_port(server_port(), NULL);
	if (strcmp(cluster_value(conn, "SHOW wal_level"), "logical") != 0) {
		cluster_run(conn, "ALTER SYSTEM SET wal_level = logical");
		cluster_run(conn, "ALTER SYSTEM SET max_wal_senders = 10");
		program_must(etc_cluster("stop"));
		program_must(start);
	}
	PQfinish(conn);
	instance_start(instance, options);
	if (instance->pid == 0)
		instance->port = server_port();
}

static void end(struct instance *instance)
{
	instance_stop(instance);
	program_must(etc_cluster("stop"));
}

static const char *with_port(const char *program, int port)
{
	return text("timeout 60 %s -h 127.0.0.1 -p %d -U postgres", program, port);
}

/* Some of everything that a dump has; a database of that name anew. */
static void make_database(const char *name)
{
	static const char *const statements[] = {
	    "CREATE EXTENSION vector",
	    "CREATE SCHEMA \"Sch\xc3\xa9ma\"",
	    "CREATE TYPE mood AS ENUM ('low', 'high')",
	    "CREATE TABLE a (id serial PRIMARY KEY, e vector(3), m mood DEFAULT 'low', b bytea)",
	    "INSERT INTO a (e, b) SELECT ARRAY[i, 1, 2]::real[]::vector, sha256(i::text::bytea)"
	    " FROM generate_series(1, 20000) i",
	    "CREATE INDEX ON a USING hnsw (e vector_l2_ops) WHERE id < 1000",
	    "CREATE TABLE \"Sch\xc3\xa9ma\".b (id int REFERENCES a, t text CHECK (t <> ''))",
	    "INSERT INTO \"Sch\xc3\xa9ma\".b SELECT i, repeat(E'\\t\\\\\xc3\xa9', i % 100 + 1)"
	    " FROM generate_series(1, 5000) i",
	    "CREATE VIEW v AS SELECT id FROM a ORDER BY e <-> '[1,2,3]' LIMIT 5",
	    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'",
	    "SELECT lo_from_bytea(4711, 'large')",
	    "COMMENT ON TABLE a IS 'a comment'",
	};
	PGconn *conn = cluster_connect_port(server_port(), NULL);

	cluster_run(conn, text("DROP DATABASE IF EXISTS %s", name));
	cluster_run(conn, text("CREATE DATABASE %s", name));
	PQfinish(conn);
	conn = cluster_connect_port(server_port(), text("dbname=%s", name));
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
		cluster_run(conn, statements[i]);
	PQfinish(conn);
}

/* pg_dump's script, less the random words that newer ones guard it with. */
static void dump(int port, const char *database, const char *file)
{
	program_must(text("%s %s >%s.all && grep -v '^.\\(un\\)\\?restrict ' %s.all >%s",
	                  with_port("pg_dump", port), database, file, file, file));
}

Test(replication, dump_and_restore)
{
	char folder[] = "/tmp/pgtopk-dump-XXXXXX";
	struct instance instance;
	PGconn *conn;

	if (!program_installed("pg_dump")) {
		SKIP("dump_and_restore", "pg_dump is not installed");
		return;
	}
	cr_assert_not_null(mkdtemp(folder));
	begin(&instance);
	make_database("dumped");
	dump(server_port(), "dumped", text("%s/wanted", folder));
	dump(instance.port, "dumped", text("%s/got", folder));
	program_must(text("cmp %s/wanted %s/got", folder, folder));
	/* by several connections that share a snapshot */
	program_must(
	    text("%s -Fd -j 3 -f %s/parallel dumped", with_port("pg_dump", instance.port), folder));
	conn = instance_connect(&instance, NULL);
	cluster_run(conn, "DROP DATABASE IF EXISTS restored");
	cluster_run(conn, "CREATE DATABASE restored");
	program_must(text("%s -j 3 -d restored %s/parallel", with_port("pg_restore", instance.port),
	                  folder));
	dump(server_port(), "restored", text("%s/restored", folder));
	program_must(text("cmp %s/wanted %s/restored", folder, folder));
	/* and as one stream */
	cluster_run(conn, "DROP DATABASE restored");
	cluster_run(conn, "CREATE DATABASE restored");
	PQfinish(conn);
	program_must(text("%s -Fc dumped | %s -d restored", with_port("pg_dump", instance.port),
	                  with_port("pg_restore", instance.port)));
	dump(server_port(), "restored", text("%s/again", folder));
	program_must(text("cmp %s/wanted %s/again", folder, folder));
	end(&instance);
	program_must(text("rm -rf %s", folder));
}

Test(replication, base_backup)
{
	char folder[] = "/tmp/pgtopk-backup-XXXXXX";
	struct instance instance;

	if (!program_installed("pg_basebackup")) {
		SKIP("base_backup", "pg_basebackup is not installed");
		return;
	}
	cr_assert_not_null(mkdtemp(folder));
	begin(&instance);
	/* WAL is streamed beside it, on a second replication connection */
	program_must(text("%s -D %s/plain -X stream -c fast",
	                  with_port("pg_basebackup", instance.port), folder));
	program_must(text("verify=$(ls /usr/lib/postgresql/*/bin/pg_verifybackup | tail -n 1);"
	                  " \"${verify:-pg_verifybackup}\" %s/plain",
	                  folder));
	program_must(text("%s -D %s/tar -Ft -X fetch -c fast",
	                  with_port("pg_basebackup", instance.port), folder));
	program_must(text("tar tf %s/tar/base.tar PG_VERSION", folder));
	end(&instance);
	program_must(text("rm -rf %s", folder));
}

/* What the server has written up to now; it goes on a little, so that the end is noticed. */
static const char *position(PGconn *conn)
{
	const char *now = cluster_value(conn, "SELECT pg_current_wal_insert_lsn()");

	cluster_run(conn, "SELECT pg_switch_wal()");
	return now;
}

Test(replication, receive_wal)
{
	char folder[] = "/tmp/pgtopk-wal-XXXXXX";
	struct instance instance;
	PGconn *conn;

	if (!program_installed("pg_receivewal")) {
		SKIP("receive_wal", "pg_receivewal is not installed");
		return;
	}
	cr_assert_not_null(mkdtemp(folder));
	begin(&instance);
	conn = instance_connect(&instance, NULL);
	cluster_run(conn, "DROP TABLE IF EXISTS written; CREATE TABLE written (a text)");
	cluster_run(conn, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
	cluster_run(conn, "SELECT pg_create_physical_replication_slot('receiver', true)");
	/* more than two files of it */
	cluster_run(conn,
	            "INSERT INTO written SELECT repeat('x', 1000) FROM generate_series(1, 40000)");
	program_must(text("%s -D %s --slot receiver --endpos %s",
	                  with_port("pg_receivewal", instance.port), folder, position(conn)));
	program_must(
	    text("cd %s && ls -l && test $(find . -type f -size 16777216c | wc -l) -ge 3", folder));
	cluster_run(conn, "SELECT pg_drop_replication_slot('receiver'); DROP TABLE written");
	PQfinish(conn);
	end(&instance);
	program_must(text("rm -rf %s", folder));
}

Test(replication, receive_logical)
{
	struct instance instance;
	PGconn *conn;
	char *output;
	int status;

	if (!program_installed("pg_recvlogical")) {
		SKIP("receive_logical", "pg_recvlogical is not installed");
		return;
	}
	begin(&instance);
	conn = instance_connect(&instance, NULL);
	cluster_run(conn, "DROP TABLE IF EXISTS decoded; CREATE TABLE decoded (a int)");
	program_must(
	    text("%s -d postgres --create-slot --if-not-exists --slot decoder -P test_decoding",
	         with_port("pg_recvlogical", instance.port)));
	cluster_run(conn, "INSERT INTO decoded SELECT generate_series(1, 1000)");
	output = program_run(text("%s -d postgres --start --slot decoder --endpos %s -f -",
	                          with_port("pg_recvlogical", instance.port), position(conn)),
	                     NULL, &status);
	cr_assert_eq(status, 0, "%s", output);
	cr_assert_not_null(strstr(output, "table public.decoded: INSERT: a[integer]:1\n"), "%s",
	                   output);
	cr_assert_not_null(strstr(output, "table public.decoded: INSERT: a[integer]:1000\n"));
	free(output);
	cluster_run(conn, "SELECT pg_drop_replication_slot('decoder'); DROP TABLE decoded");
	PQfinish(conn);
	end(&instance);
}
