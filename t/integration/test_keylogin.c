/*
 * Keylogin: worker connections that are logged in with a user's SCRAM keys, with and
 * without TLS; how they are cancelled; when libpq has to do it.
 */
#include "proxy/keylogin.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/digest.h"
#include "t/lib/back.h"
#include "t/lib/certificates.h"
#include "t/lib/cluster.h"
#include "t/lib/server.h"

#define SHARED "PGTOPK_TEST_KEYLOGIN" /* hands the server to the tests' processes */

#define HBA                                                                                        \
	"hostnossl all k_plain 127.0.0.1/32 scram-sha-256\n"                                       \
	"hostssl all k_tls 127.0.0.1/32 scram-sha-256\n"                                           \
	"host all k_tls,k_plain 127.0.0.1/32 reject\n"                                             \
	"host all k_md5 127.0.0.1/32 md5\n"                                                        \
	"host all k_password 127.0.0.1/32 password\n"                                              \
	"host all k_trust 127.0.0.1/32 trust\n"                                                    \
	"host all all 127.0.0.1/32 scram-sha-256\n"

#define ROLES                                                                                      \
	"SET password_encryption = 'scram-sha-256';"                                               \
	"CREATE ROLE k_user LOGIN PASSWORD 'right'; CREATE ROLE k_plain LOGIN PASSWORD 'right';"   \
	"CREATE ROLE k_tls LOGIN PASSWORD 'right'; CREATE ROLE k_trust LOGIN PASSWORD 'right';"    \
	"CREATE ROLE k_password LOGIN PASSWORD 'right'; CREATE ROLE k_refused LOGIN PASSWORD "     \
	"'right'; CREATE ROLE k_one LOGIN PASSWORD 'right' CONNECTION LIMIT 1;"                    \
	"SET password_encryption = 'md5'; CREATE ROLE k_md5 LOGIN PASSWORD 'right'"

static struct server server;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	struct certificates certificates;

	(void)set;
	cluster_up();
	certificates_open(&certificates);
	certificates_make_usual(&certificates, "k_user");
	chmod(certificates.folder, 0755);
	server_start(&server, HBA, "log_connections = on\nlog_min_messages = warning\n");
	server_install(&server, certificates_file(&certificates, "server.crt"), "server.crt");
	server_install(&server, certificates_file(&certificates, "server.key"), "server.key");
	server_restart(&server, "ssl = on");
	server_run(&server, ROLES);
	certificates_close(&certificates);
	setenv(SHARED "_PORT", text("%d", server.port), 1);
	setenv(SHARED "_DIR", server.dir, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	server_stop(&server);
}

static void recall(void)
{
	server.port = atoi(getenv(SHARED "_PORT"));
	snprintf(server.dir, sizeof(server.dir), "%s", getenv(SHARED "_DIR"));
}

TestSuite(keylogin, .init = recall, .timeout = 120);

/* What a client's login would have told us: the keys of a password under the user's salt. */
static struct scram_keys keys_of(const char *verifier, const char *password)
{
	struct digest_piece client = {"Client Key", 10}, named = {"Server Key", 10};
	uint8_t salt[SCRAM_SALT_MAX], salted[DIGEST_LEN];
	struct scram_verifier parsed;
	struct scram_keys keys;
	size_t len;

	cr_assert(scram_verifier_parse(verifier, &parsed), "%s", verifier);
	cr_assert(digest_base64_decode(parsed.salt, strlen(parsed.salt), salt, sizeof(salt), &len));
	cr_assert(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)len,
	                            (int)parsed.iterations, EVP_sha256(), DIGEST_LEN, salted));
	digest_hmac(salted, &client, 1, keys.client_key);
	digest_hmac(salted, &named, 1, keys.server_key);
	return keys;
}

static void know(struct back *back, const char *user, const char *password)
{
	PGconn *conn = server_connect(&server);
	const char *verifier = cluster_value(
	    conn, text("SELECT rolpassword FROM pg_authid WHERE rolname = '%s'", user));
	struct scram_keys keys;

	if (strncmp(verifier, "SCRAM", 5) != 0) /* any will do */
		verifier = cluster_value(
		    conn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'k_user'");
	keys = keys_of(verifier, password);
	keyring_put(back->keyring, user, &keys);
	PQfinish(conn);
}

static void open_back(struct back *back, const char *worker)
{
	const char *const options[] = {"worker", worker, NULL};

	back_open(back, options);
}

static struct pool *pool_of(struct back *back, const char *user)
{
	return pools_get(back->pools, "127.0.0.1", server.port, "postgres", user);
}

/* How often the server's log says something of a user; it is shared by all tests. */
static unsigned said_of(const char *user, const char *format)
{
	const char *log = server_log(&server);
	char what[256];
	unsigned n = 0;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(what, sizeof(what), format, user);
#pragma GCC diagnostic pop
	while ((log = strstr(log, what)) != NULL) {
		log += strlen(what);
		n++;
	}
	return n;
}

#define BY_SCRAM "identity=\"%s\" method=scram-sha-256"
#define REFUSED "password authentication failed for user \"%s\""

/* A worker connection of a user and what it says of itself. */
static void gets_in(struct back *back, const char *user, const char *ssl)
{
	struct pool *pool = pool_of(back, user);
	const char *why = NULL;
	struct worker *worker = back_take(back, pool, &why);

	cr_assert_not_null(worker, "%s: %s", user, why);
	cr_assert_str_eq(back_value(back, worker,
	                            "SELECT current_user || ' ' || (SELECT ssl FROM pg_stat_ssl "
	                            "WHERE pid = pg_backend_pid())"),
	                 text("%s %s", user, ssl));
	pool_give(pool, worker);
}

static const char *kept_out(struct back *back, const char *user)
{
	const char *why = NULL;

	cr_assert_null(back_take(back, pool_of(back, user), &why), "%s", user);
	return why;
}

/* ---- who gets in ---- */

Test(keylogin, keys_log_in_without_a_password)
{
	unsigned before = said_of("k_user", BY_SCRAM);
	struct back back;

	open_back(&back, "sslmode=disable");
	know(&back, "k_user", "right");
	gets_in(&back, "k_user", "false");
	cr_assert_eq(said_of("k_user", BY_SCRAM), before + 1);
	back_close(&back);
}

Test(keylogin, keys_log_in_with_channel_binding)
{
	unsigned before = said_of("k_user", BY_SCRAM);
	struct back back;

	open_back(&back, "sslmode=require channel_binding=require");
	know(&back, "k_user", "right");
	gets_in(&back, "k_user", "true");
	cr_assert_eq(said_of("k_user", BY_SCRAM), before + 1);
	back_close(&back);
}

/* A client with TLS that says "n" is let in; one that could bind may not say so. */
Test(keylogin, channel_binding_can_be_switched_off)
{
	struct back back;

	open_back(&back, "sslmode=require channel_binding=disable");
	know(&back, "k_user", "right");
	gets_in(&back, "k_user", "true");
	back_close(&back);
}

Test(keylogin, channel_binding_that_is_required_is_not_done_without)
{
	struct back back;
	const char *why;

	open_back(&back, "sslmode=disable channel_binding=require");
	know(&back, "k_user", "right");
	why = kept_out(&back, "k_user");
	cr_assert(strstr(why, "channel binding"), "%s", why);
	know(&back, "k_trust", "right");
	why = kept_out(&back, "k_trust");
	cr_assert(strstr(why, "channel binding"), "%s", why);
	back_close(&back);
}

Test(keylogin, without_keys_and_password_nobody_gets_in)
{
	struct back back;
	const char *why;

	open_back(&back, "sslmode=disable");
	why = kept_out(&back, "k_user");
	cr_assert(strstr(why, "no password supplied"), "%s", why);
	back_close(&back);
}

Test(keylogin, the_other_sslmode_is_tried_where_libpq_would)
{
	struct back back;

	open_back(&back, "sslmode=prefer");
	know(&back, "k_plain", "right");
	gets_in(&back, "k_plain", "false");
	back_close(&back);
	open_back(&back, "sslmode=allow");
	know(&back, "k_tls", "right");
	gets_in(&back, "k_tls", "true");
	back_close(&back);
	open_back(&back, "sslmode=require");
	know(&back, "k_plain", "right");
	cr_assert(strstr(kept_out(&back, "k_plain"), "pg_hba.conf rejects connection"));
	back_close(&back);
}

Test(keylogin, a_server_that_wants_no_login_is_taken)
{
	struct back back;

	open_back(&back, "sslmode=disable");
	know(&back, "k_trust", "right");
	gets_in(&back, "k_trust", "false");
	back_close(&back);
}

/* ---- when libpq has to do it ---- */

Test(keylogin, other_logins_are_libpqs)
{
	struct back back;

	open_back(&back, "sslmode=disable password=right");
	know(&back, "k_md5", "right");
	gets_in(&back, "k_md5", "false");
	know(&back, "k_password", "right");
	gets_in(&back, "k_password", "false");
	back_close(&back);
}

Test(keylogin, a_demand_for_another_login_is_libpqs_to_keep)
{
	char *error = NULL,
	     *known = pq_conninfo_value("require_auth=scram-sha-256", "require_auth", &error);
	struct back back;

	free(known);
	if (error) {
		printf("SKIP: a_demand_for_another_login_is_libpqs_to_keep: libpq before 16\n");
		free(error);
		return;
	}
	open_back(&back, "sslmode=disable require_auth=scram-sha-256");
	know(&back, "k_trust", "right");
	cr_assert(strstr(kept_out(&back, "k_trust"), "auth"));
	know(&back, "k_user", "right");
	gets_in(&back, "k_user", "false");
	back_close(&back);
}

/* The worker's verifier has another salt: keys do not fit, but a passfile does. */
Test(keylogin, keys_that_are_refused_are_not_tried_again_at_once)
{
	unsigned before = said_of("k_refused", REFUSED);
	struct worker *first, *second;
	struct pool *pool;
	struct back back;

	open_back(&back, "sslmode=disable password=right");
	know(&back, "k_refused", "wrong");
	pool = pool_of(&back, "k_refused");
	first = back_take(&back, pool, NULL);
	second = back_take(&back, pool, NULL);
	cr_assert(first != second);
	cr_assert_eq(said_of("k_refused", REFUSED), before + 1);
	/* but another login's keys are */
	know(&back, "k_refused", "wrong again");
	back_take(&back, pool, NULL);
	cr_assert_eq(said_of("k_refused", REFUSED), before + 2);
	know(&back, "k_refused", "right");
	before = said_of("k_refused", BY_SCRAM);
	back_take(&back, pool, NULL);
	cr_assert_eq(said_of("k_refused", BY_SCRAM), before + 1);
	cr_assert_eq(said_of("k_refused", REFUSED), 2);
	back_close(&back);
}

Test(keylogin, both_reasons_are_given_when_nothing_helps)
{
	struct back back;
	const char *why;

	open_back(&back, "sslmode=disable");
	know(&back, "k_user", "wrong");
	why = kept_out(&back, "k_user");
	cr_assert(strstr(why, "no password supplied; with the user's SCRAM keys: 28P01: "
	                      "password authentication failed for user \"k_user\""),
	          "%s", why);
	back_close(&back);
}

Test(keylogin, what_no_password_could_mend_is_the_end)
{
	struct worker *worker;
	struct pool *pool;
	struct back back;
	const char *why = NULL;

	open_back(&back, "sslmode=disable password=right");
	know(&back, "k_user", "right");
	pool = pools_get(back.pools, "127.0.0.1", server.port, "nowhere", "k_user");
	cr_assert_null(back_take(&back, pool, &why));
	cr_assert_str_eq(why, "3D000: database \"nowhere\" does not exist");
	pool = pools_get(back.pools, "127.0.0.1", 1, "postgres", "k_user");
	cr_assert_null(back_take(&back, pool, &why));
	cr_assert(strstr(why, "Connection refused"), "%s", why);
	know(&back, "k_one", "right");
	pool = pool_of(&back, "k_one");
	worker = back_take(&back, pool, NULL);
	cr_assert_null(back_take(
	    &back, pools_get(back.pools, "127.0.0.1", server.port, "template1", "k_one"), &why));
	cr_assert_str_eq(why, "53300: too many connections for role \"k_one\"");
	pool_give(pool, worker);
	back_close(&back);
}

/* ---- what comes with a connection ---- */

Test(keylogin, the_conninfos_name_and_options_are_sent)
{
	struct worker *worker;
	struct pool *pool;
	struct back back;

	open_back(&back, "sslmode=disable");
	know(&back, "k_user", "right");
	pool = pool_of(&back, "k_user");
	worker = back_take(&back, pool, NULL);
	cr_assert_str_eq(back_value(&back, worker, "SHOW application_name"), "pgtopk");
	pool_give(pool, worker);
	back_close(&back);
	open_back(&back, "sslmode=disable application_name=another options='-c work_mem=7MB'");
	know(&back, "k_user", "right");
	pool = pool_of(&back, "k_user");
	worker = back_take(&back, pool, NULL);
	cr_assert_str_eq(back_value(&back, worker, "SHOW application_name"), "another");
	cr_assert_str_eq(back_value(&back, worker, "SHOW work_mem"), "7MB");
	pool_give(pool, worker);
	back_close(&back);
}

static void cancel_soon(void *owner)
{
	struct back_job *job = owner;

	worker_cancel(job->worker);
}

static void is_cancelled(const char *conninfo)
{
	struct loop_timer *timer;
	struct worker *worker;
	struct back_job job;
	struct pool *pool;
	struct back back;

	open_back(&back, conninfo);
	know(&back, "k_user", "right");
	pool = pool_of(&back, "k_user");
	worker = back_take(&back, pool, NULL);
	back_begin(&job, &back, worker);
	timer = loop_timer_new(back.loop, cancel_soon, &job);
	loop_timer_start(timer, 100);
	back_ask(&job, 0, "SELECT pg_sleep(15)", NULL);
	cr_assert_str_eq(back_end(&job), "error 0 57014,ready", "%s", conninfo);
	back_fini(&job);
	/* it has arrived: what comes next is not hit */
	cr_assert_str_eq(back_value(&back, worker, "SELECT 'next'"), "next");
	pool_give(pool, worker);
	loop_timer_free(timer);
	back_close(&back);
}

Test(keylogin, its_queries_can_be_cancelled)
{
	is_cancelled("sslmode=disable");
	is_cancelled("sslmode=require");
}

/* Its conninfo was taken away by a reload: in the midst of logging in, and later. */
Test(keylogin, a_reload_takes_nothing_from_a_connection)
{
	struct worker *worker;
	struct back_job job;
	struct pool *pool;
	struct back back;
	char error[256];

	open_back(&back, "sslmode=require application_name=before");
	know(&back, "k_user", "right");
	pool = pool_of(&back, "k_user");
	pool_warm(pool);
	cr_assert(config_set(back.config, "test", "worker", "sslmode=disable port=1", error,
	                     sizeof(error)));
	worker = back_take(&back, pool, NULL);
	back_begin(&job, &back, worker);
	back_ask(&job, 0, "SELECT pg_sleep(15)", NULL);
	worker_sync(worker);
	back_idle(&back, 100);
	worker_cancel(worker);
	back_wait(&back, &job.over);
	cr_assert_str_eq(job.sqlstate, "57014");
	back_fini(&job);
	pool_give(pool, worker);
	back_close(&back);
}

/* Nobody is told, and nothing is left behind. */
Test(keylogin, a_cancel_may_outlive_its_connection)
{
	struct worker *worker;
	struct back_job job;
	struct pool *pool;
	struct back back;

	for (unsigned ms = 0; ms <= 100; ms += 100) {
		open_back(&back, "sslmode=disable");
		know(&back, "k_user", "right");
		pool = pool_of(&back, "k_user");
		worker = back_take(&back, pool, NULL);
		back_begin(&job, &back, worker);
		back_ask(&job, 0, "SELECT pg_sleep(15)", NULL);
		worker_sync(worker);
		back_idle(&back, 50);
		worker_cancel(worker);
		worker_abort(worker, "test");
		pool_give(pool, worker);
		iobuf_fini(&job.heard);
		if (ms > 0)
			back_idle(&back, ms);
		back_close(&back);
	}
}

static void never(void *owner, struct worker *worker, const char *why)
{
	(void)owner;
	(void)worker;
	(void)why;
	cr_assert_fail("nobody waits");
}

Test(keylogin, it_can_be_given_up_at_any_time)
{
	for (unsigned ms = 0; ms < 12; ms++) {
		struct pool_waiter waiter = {.fn = never};
		struct pool *pool;
		struct back back;

		open_back(&back, ms % 2 ? "sslmode=disable" : "sslmode=require");
		know(&back, "k_user", "right");
		pool = pool_of(&back, "k_user");
		cr_assert_null(pool_take(pool, &waiter));
		pool_cancel(&waiter);
		if (ms > 0)
			back_idle(&back, ms / 2);
		back_close(&back);
	}
}
