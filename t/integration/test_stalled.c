/*
 * Stalled: clients and a coordinator that are slow or stand still at each stage: a byte
 * now and then, a handshake that never ends, an answer that nobody reads. They cost
 * neither CPU nor memory beyond a bound, and others are served meanwhile.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/lib/certificates.h"
#include "t/lib/items.h"
#include "t/lib/meddler.h"
#include "t/lib/neighbour.h"
#include "t/lib/raw.h"
#include "t/lib/server.h"
#include "t/lib/suite.h"

#define SLOW_CLIENTS 500
#define MEMORY_MAX_KB 8192
#define BEGINNING_MAX_KB 40 /* the session and one buffer */
#define CPU_MAX_MS 300      /* in a second, for 500 clients: that is no loop */

static long memory(const struct instance *instance)
{
	return instance_memory_kb(instance, "VmRSS");
}

/* ---- slow beginnings ---- */

static const struct {
	const char *name, *bytes;
	size_t len;
} beginnings[] = {
    {"nothing", "", 0},
    {"half a length", "\0\0", 2},
    {"half a StartupMessage", "\0\0\0\100\0\3\0\0user\0", 13},
    {"a declined SSLRequest", "\0\0\0\10\4\322\26/", 8},
    {"half a CancelRequest", "\0\0\0\20\4\322\26.\0\0", 10},
};

static void open_many(struct raw *raws, unsigned count, int port)
{
	struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned i = 0; i < count; i++)
		raw_open(&raws[i], port);
}

/* Each sends a byte in turn of the usual StartupMessage, far too slowly. */
static void dribble(struct raw *raws, unsigned count, size_t round)
{
	static const uint8_t message[] = "\0\0\0\100\0\3\0\0user\0postgres\0database\0postgres\0";

	for (unsigned i = 0; i < count; i++)
		send(raws[i].fd, message + round % sizeof(message), 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

Test(stalled, five_hundred_who_send_a_byte_now_and_then)
{
	static struct raw raws[SLOW_CLIENTS];
	const char *options[] = {"--login-timeout", "2s", NULL};
	struct instance instance;
	struct neighbour neighbour;
	long cpu, before;

	instance_start(&instance, options);
	neighbour_start(&neighbour, &instance, NULL);
	usleep(300 * 1000);
	before = memory(&instance);
	open_many(raws, SLOW_CLIENTS, instance.port);
	cpu = instance_cpu_ms(&instance);
	for (size_t round = 0; round < 5; round++) {
		dribble(raws, SLOW_CLIENTS, round);
		usleep(200 * 1000);
	}
	cr_expect_lt(instance_cpu_ms(&instance) - cpu, CPU_MAX_MS, "%ld ms",
	             instance_cpu_ms(&instance) - cpu);
	cr_expect(instance_is_sanitized() ||
	              memory(&instance) < before + SLOW_CLIENTS * BEGINNING_MAX_KB,
	          "%ld kB more", memory(&instance) - before);
	for (unsigned i = 0; i < SLOW_CLIENTS; i++) {
		free(raw_read_bytes(&raws[i])); /* login_timeout */
		raw_close(&raws[i]);
	}
	neighbour_stop(&neighbour);
	instance_stop(&instance);
}

Test(stalled, a_beginning_that_does_not_go_on_is_ended)
{
	const char *options[] = {"--login-timeout", "1s", NULL};
	size_t count = sizeof(beginnings) / sizeof(beginnings[0]);
	struct instance instance;
	struct raw raws[8];

	instance_start(&instance, options);
	for (size_t i = 0; i < count; i++) {
		raw_open(&raws[i], instance.port);
		wire_put_bytes(&raws[i].out, beginnings[i].bytes, beginnings[i].len);
		raw_send(&raws[i], 0);
	}
	usleep(500 * 1000);
	for (size_t i = 0; i < count; i++)
		cr_assert(i == 3 || !raw_readable(&raws[i], 0), "%s: too soon", beginnings[i].name);
	for (size_t i = 0; i < count; i++) {
		char *said = raw_read_bytes(&raws[i]);

		cr_expect_str_eq(said, i == 3 ? "N" : "", "%s: %s", beginnings[i].name, said);
		free(said);
		raw_close(&raws[i]);
	}
	instance_stop(&instance);
}

/* ---- answers that nobody reads, requests that nobody takes ---- */

Test(stalled, a_client_that_asks_for_100_mb_and_does_not_read)
{
	static const char *const queries[] = {
	    "SELECT repeat('x', 1000000) FROM generate_series(1, 100)",
	    "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT",
	};
	struct instance *instance = instance_shared();
	struct neighbour neighbour;

	if (instance->pid == 0)
		return;
	neighbour_start(&neighbour, instance, NULL);
	for (size_t i = 0; i < 2; i++) {
		struct raw raw;
		long before, cpu;

		raw_login(&raw, instance->port);
		before = memory(instance);
		wire_put_query(&raw.out, queries[i]);
		raw_send(&raw, 0);
		cr_assert(raw_readable(&raw, 5000));
		usleep(500 * 1000);
		cpu = instance_cpu_ms(instance);
		usleep(500 * 1000);
		cr_expect_lt(instance_cpu_ms(instance) - cpu, 250);
		cr_expect(instance_is_sanitized() || memory(instance) < before + MEMORY_MAX_KB,
		          "%ld kB more", memory(instance) - before);
		raw_close(&raw);
	}
	neighbour_stop(&neighbour);
}

/* As much as goes in within a second without being taken. */
static size_t push(struct raw *raw, size_t most)
{
	static uint8_t data[65536];
	size_t sent = 0;

	while (sent < most) {
		struct pollfd pollfd = {.fd = raw->fd, .events = POLLOUT};
		ssize_t n;

		if (poll(&pollfd, 1, 1000) <= 0)
			break;
		n = send(raw->fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	return sent;
}

Test(stalled, a_coordinator_that_does_not_read)
{
	const size_t most = 100 * 1024 * 1024;
	struct server server;
	struct instance instance;
	struct raw raw;
	PGconn *watcher;
	int backend;
	long before, cpu;

	server_start(&server, "host all all 127.0.0.1/32 trust\n", "");
	instance_start(
	    &instance,
	    (const char *[]){"--coordinator", server_conninfo(&server, "sslmode=disable"), NULL});
	raw_login(&raw, instance.port);
	wire_put_query(&raw.out, "CREATE TEMP TABLE t (a bytea); SELECT pg_backend_pid()");
	raw_send(&raw, 0);
	free(raw_read(&raw, WIRE_BE_ReadyForQuery, 1));
	watcher = server_connect(&server);
	backend =
	    atoi(cluster_value(watcher, "SELECT pid FROM pg_stat_activity WHERE backend_type = "
	                                "'client backend' AND pid <> pg_backend_pid()"));
	cr_assert_gt(backend, 0);
	cr_assert_eq(kill(backend, SIGSTOP), 0);
	before = memory(&instance);
	wire_put_u8(&raw.out, WIRE_FE_Query);
	wire_put_u32(&raw.out, (uint32_t)most);
	raw_send(&raw, 0);
	cr_expect_lt(push(&raw, most), most);
	cpu = instance_cpu_ms(&instance);
	usleep(500 * 1000);
	cr_expect_lt(instance_cpu_ms(&instance) - cpu, 50);
	cr_expect(instance_is_sanitized() || memory(&instance) < before + MEMORY_MAX_KB,
	          "%ld kB more", memory(&instance) - before);
	kill(backend, SIGCONT);
	PQfinish(watcher);
	raw_close(&raw);
	instance_stop(&instance);
	server_stop(&server);
}

/* ---- TLS ---- */

struct tls_front {
	struct certificates certificates;
	struct instance instance;
	struct meddler meddler;
};

static void tls_front_open(struct tls_front *front)
{
	char cert[512], key[512];
	const char *options[] = {"--client-tls",
	                         "allow",
	                         "--client-tls-cert",
	                         cert,
	                         "--client-tls-key",
	                         key,
	                         "--login-timeout",
	                         "1s",
	                         NULL};

	certificates_open(&front->certificates);
	certificates_make_usual(&front->certificates, "postgres");
	snprintf(cert, sizeof(cert), "%s", certificates_file(&front->certificates, "server.crt"));
	snprintf(key, sizeof(key), "%s", certificates_file(&front->certificates, "server.key"));
	instance_start(&front->instance, options);
	meddler_start(&front->meddler, front->instance.port);
}

static void tls_front_close(struct tls_front *front)
{
	meddler_stop(&front->meddler);
	instance_stop(&front->instance);
	certificates_close(&front->certificates);
}

static PGconn *tls_connect(struct tls_front *front)
{
	return PQconnectdb(text("host=127.0.0.1 port=%d user=postgres dbname=postgres "
	                        "sslmode=require gssencmode=disable connect_timeout=10",
	                        front->meddler.port));
}

Test(stalled, a_tls_handshake_that_never_ends_is_ended)
{
	struct tls_front front;
	struct neighbour neighbour;
	PGconn *conn;
	size_t len;

	tls_front_open(&front);
	neighbour_start(&neighbour, &front.instance, NULL);
	conn = tls_connect(&front);
	cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
	len = meddler_heard(&front.meddler);
	PQfinish(conn);
	for (size_t at = 0; at < len; at += len / 6) { /* SSLRequest up to StartupMessage */
		struct meddler_rule rule = {.what = MEDDLER_STALL, .at = at};
		long cpu = instance_cpu_ms(&front.instance);

		meddler_set(&front.meddler, &rule);
		conn = tls_connect(&front);
		cr_assert_neq(PQstatus(conn), CONNECTION_OK);
		cr_assert_gt(meddler_struck(&front.meddler), 0, "at %zu", at);
		PQfinish(conn);
		cr_expect_lt(instance_cpu_ms(&front.instance) - cpu, CPU_MAX_MS);
	}
	neighbour_stop(&neighbour);
	tls_front_close(&front);
}

Test(stalled, a_tls_record_that_never_ends_costs_nothing)
{
	struct tls_front front;
	struct neighbour neighbour;

	tls_front_open(&front);
	neighbour_start(&neighbour, &front.instance, "sslmode=require");
	for (size_t more = 1; more < 60; more += 19) {
		struct meddler_rule rule = {.what = MEDDLER_NOTHING};
		PGconn *conn;
		long cpu;

		meddler_set(&front.meddler, &rule);
		conn = tls_connect(&front);
		cr_assert_eq(PQstatus(conn), CONNECTION_OK, "%s", PQerrorMessage(conn));
		usleep(20 * 1000);
		rule = (struct meddler_rule){.what = MEDDLER_STALL,
		                             .at = meddler_heard(&front.meddler) + more};
		meddler_set(&front.meddler, &rule);
		cr_assert(PQsendQuery(conn, "SELECT repeat('x', 100), '"
		                            "0123456789012345678901234567890123456789'"));
		PQflush(conn);
		usleep(50 * 1000);
		cr_assert_gt(meddler_struck(&front.meddler), 0);
		cpu = instance_cpu_ms(&front.instance);
		usleep(300 * 1000);
		cr_expect_lt(instance_cpu_ms(&front.instance) - cpu, 200);
		PQfinish(conn);
	}
	neighbour_stop(&neighbour);
	tls_front_close(&front);
}
