/*
 * World: see world.h.
 */
#include "t/fuzz/world.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parser/plancache.h"
#include "proxy/cancel.h"
#include "proxy/catalog.h"
#include "proxy/census.h"
#include "proxy/config.h"
#include "proxy/description.h"
#include "proxy/keyring.h"
#include "proxy/linger.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/notices.h"
#include "proxy/pool.h"
#include "proxy/pq.h"
#include "proxy/session.h"
#include "proxy/signature.h"
#include "proxy/verifiers.h"
#include "proxy/wire.h"

#define QUIET_TURNS 4
#define TURNS_MAX 3000
#define READ_SIZE 2048

void __wrap_digest_random(uint8_t *out, size_t len);

static struct world *world_now; /* that of the functions that pq.h declares */

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void __wrap_digest_random(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(++world_now->random * 7);
}

/* ---- pq.h ---- */

struct pq_attempt {
	struct loop_timer *timer;
	bool dialled, worker;
	pq_connected_fn *fn;
	void *owner;
};

struct pq_link {
	int fd;
	struct pq_peer peer;
	char host[16], port[8];
};

/* A pair of sockets: pgtopk's end. */
static int make_peer(bool dialled, bool worker)
{
	struct world *world = world_now;
	struct world_peer *peer = &world->peers[world->npeers];
	enum world_scripted kind = dialled  ? WORLD_COORDINATOR
	                           : worker ? WORLD_WORKER
	                                    : WORLD_CATALOG;
	int ends[2];

	if (world->npeers == WORLD_PEERS ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	world->npeers++;
	*peer = (struct world_peer){.fd = ends[1], .dialled = dialled, .worker = worker};
	iobuf_init(&peer->out);
	peer->server =
	    server_new(dialled ? NULL : "pgtopk", worker    ? world->faults
	                                          : dialled ? 0
	                                                    : world->faults & SERVER_CHANGES);
	if (world->scripted == kind)
		peer->script = &world->script;
	return ends[0];
}

static void on_connected(void *owner)
{
	struct pq_attempt *attempt = owner;
	pq_connected_fn *fn = attempt->fn;
	void *whose = attempt->owner;
	struct pq_link *link = NULL;
	int fd = make_peer(attempt->dialled, attempt->worker);

	if (fd >= 0) {
		link = must(calloc(1, sizeof(*link)));
		*link = (struct pq_link){.fd = fd, .host = "server", .port = "5432"};
		link->peer.host = link->host;
		link->peer.port = link->port;
	}
	pq_attempt_free(attempt);
	fn(whose, link, link ? NULL : "no more connections");
}

static struct pq_attempt *connect_soon(struct loop *loop, bool dialled, bool worker,
                                       pq_connected_fn *fn, void *owner)
{
	struct pq_attempt *attempt = must(calloc(1, sizeof(*attempt)));

	*attempt = (struct pq_attempt){
	    .timer = loop_timer_new(loop, on_connected, attempt),
	    .dialled = dialled,
	    .worker = worker,
	    .fn = fn,
	    .owner = owner,
	};
	loop_timer_start(attempt->timer, 0);
	return attempt;
}

static bool names_host(const struct pq_target *target)
{
	for (unsigned i = 0; target->keywords && target->keywords[i]; i++)
		if (strcmp(target->keywords[i], "host") == 0 && target->values[i])
			return true;
	return false;
}

struct pq_attempt *pq_connect(struct loop *loop, struct pq_cancels *cancels,
                              const struct pq_target *target, uint64_t timeout_ms,
                              pq_connected_fn *fn, void *owner)
{
	(void)cancels;
	(void)timeout_ms;
	return connect_soon(loop, false, names_host(target), fn, owner);
}

struct pq_attempt *pq_dial(struct loop *loop, const struct pq_target *target, uint64_t timeout_ms,
                           pq_connected_fn *fn, void *owner)
{
	(void)target;
	(void)timeout_ms;
	return connect_soon(loop, true, false, fn, owner);
}

void pq_attempt_free(struct pq_attempt *attempt)
{
	if (!attempt)
		return;
	loop_timer_free(attempt->timer);
	free(attempt);
}

void pq_link_free(struct pq_link *link)
{
	if (!link)
		return;
	close(link->fd);
	free(link);
}

int pq_link_fd(const struct pq_link *link)
{
	return link->fd;
}

void *pq_link_ssl(const struct pq_link *link)
{
	(void)link;
	return NULL;
}

const struct pq_peer *pq_link_peer(const struct pq_link *link)
{
	return &link->peer;
}

/* As after sslmode=allow, once, so that the second attempt is seen, too. */
const char *pq_link_other_sslmode(const struct pq_link *link)
{
	(void)link;
	return world_now->npeers == 1 ? "require" : NULL;
}

void pq_link_set_key(struct pq_link *link, struct pq_cancels *cancels, const char *conninfo,
                     const uint8_t *key, size_t len)
{
	(void)link;
	(void)cancels;
	(void)conninfo;
	(void)key;
	(void)len;
}

void pq_link_cancel(struct pq_link *link, void (*done)(void *owner), void *owner)
{
	(void)link;
	(void)done; /* it is never on its way */
	(void)owner;
}

bool pq_link_cancelling(const struct pq_link *link)
{
	(void)link;
	return false;
}

char *pq_conninfo_value(const char *conninfo, const char *keyword, char **error)
{
	(void)conninfo;
	*error = NULL;
	return strcmp(keyword, "port") == 0 ? NULL : must(strdup("coordinator"));
}

/* ---- the beginning and the end ---- */

static void open_proxy(struct world *world)
{
	struct proxy *proxy = &world->proxy;
	struct config *config = world->config;
	char error[256];

	proxy->config = config;
	proxy->loop = must(loop_new());
	proxy->log = log_new(STDERR_FILENO, LOG_ERROR);
	proxy->coordinator = must(strdup("coordinator:5432"));
	proxy->keyring = keyring_new();
	proxy->by_user = census_new();
	proxy->by_database = census_new();
	proxy->lingers = lingers_new(proxy->loop);
	proxy->by_address = census_new();
	proxy->pools = pools_new(proxy->loop, config, proxy->log, proxy->keyring);
	proxy->verifiers = must(
	    verifiers_new(proxy->loop, config, proxy->log, proxy->pools, error, sizeof(error)));
	proxy->catalogs = catalogs_new(proxy->loop, config, proxy->log, proxy->pools);
	proxy->plans = plancache_new(100, 1 << 20);
	proxy->descriptions = descriptions_new(100);
	proxy->notices = notices_new(proxy);
	proxy->signatures = signatures_new();
}

void world_open(struct world *world, const char *const *options)
{
	int ends[2];
	char error[256];

	memset(world, 0, sizeof(*world));
	world_now = world;
	iobuf_init(&world->said);
	iobuf_init(&world->heard);
	world->config = config_new();
	for (; options && *options; options += 2)
		if (!config_set(world->config, "fuzz", options[0], options[1], error,
		                sizeof(error)))
			abort();
	open_proxy(world);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		abort();
	world->client = ends[1];
	session_open(&world->proxy, ends[0]);
}

static void close_proxy(struct proxy *proxy)
{
	while (proxy->sessions)
		session_close(proxy->sessions, "shutdown");
	cancel_end_all(proxy);
	signatures_free(proxy->signatures);
	notices_free(proxy->notices);
	lingers_free(proxy->lingers);
	verifiers_free(proxy->verifiers);
	catalogs_free(proxy->catalogs);
	pools_free(proxy->pools);
	loop_free(proxy->loop);
	descriptions_free(proxy->descriptions);
	plancache_free(proxy->plans);
	log_free(proxy->log);
	keyring_free(proxy->keyring);
	census_free(proxy->by_user);
	census_free(proxy->by_database);
	census_free(proxy->by_address);
	free(proxy->coordinator);
}

static void close_peer(struct world_peer *peer)
{
	if (peer->fd < 0)
		return;
	close(peer->fd);
	peer->fd = -1;
	server_free(peer->server);
	iobuf_fini(&peer->out);
}

void world_close(struct world *world)
{
	close_proxy(&world->proxy);
	for (unsigned i = 0; i < world->npeers; i++)
		close_peer(&world->peers[i]);
	for (unsigned i = 0; i < world->ncancels; i++)
		close(world->cancels[i]);
	world_leave(world);
	iobuf_fini(&world->said);
	iobuf_fini(&world->heard);
	config_free(world->config);
	world_now = NULL;
}

/* ---- turns ---- */

/* Writes what the socket takes. True if that was something. */
static bool write_some(int fd, struct iobuf *out)
{
	ssize_t n = iobuf_len(out) ? send(fd, iobuf_head(out), iobuf_len(out), MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN)
		iobuf_consume(out, iobuf_len(out));
	else if (n > 0)
		iobuf_consume(out, (size_t)n);
	return n > 0;
}

/* What there is to read. False: the other end is closed. */
static bool read_all(int fd, struct iobuf *in)
{
	for (;;) {
		ssize_t n = recv(fd, iobuf_reserve(in, READ_SIZE), READ_SIZE, 0);

		if (n > 0)
			iobuf_commit(in, (size_t)n);
		else
			return n < 0 && errno == EAGAIN;
	}
}

/* The script's next part, or what the server says. */
static void answer(struct world *world, struct world_peer *peer, const struct iobuf *in)
{
	const uint8_t *data;
	size_t size;

	if (peer->script && world->scripted_after == 0) {
		if (fuzz_next(peer->script, &data, &size))
			iobuf_append(&peer->out, data, size);
		else
			peer->leaving = true;
		return;
	}
	if (peer->script)
		world->scripted_after--;
	peer->leaving = !server_hear(peer->server, iobuf_head(in), iobuf_len(in), &peer->out);
}

/* True if anything happened. */
static bool run_peer(struct world *world, struct world_peer *peer)
{
	bool busy = write_some(peer->fd, &peer->out);
	struct iobuf in;
	bool open;

	iobuf_init(&in);
	open = read_all(peer->fd, &in);
	if (iobuf_len(&in) > 0 && !peer->leaving) {
		answer(world, peer, &in);
		write_some(peer->fd, &peer->out);
		busy = true;
	}
	iobuf_fini(&in);
	if (open && !(peer->leaving && iobuf_len(&peer->out) == 0))
		return busy;
	close_peer(peer);
	return true;
}

static bool run_client(struct world *world)
{
	size_t before = iobuf_len(&world->heard);
	bool busy;

	if (world->client < 0)
		return false;
	busy = write_some(world->client, &world->said);
	if (!world->client_closed && !read_all(world->client, &world->heard)) {
		world->client_closed = true;
		return true;
	}
	return busy || iobuf_len(&world->heard) > before;
}

static void on_turn(void *owner)
{
	loop_stop(owner);
}

void world_settle(struct world *world)
{
	struct loop_timer *timer = loop_timer_new(world->proxy.loop, on_turn, world->proxy.loop);
	unsigned quiet = 0;

	for (unsigned turn = 0; quiet < QUIET_TURNS && turn < TURNS_MAX; turn++) {
		bool busy = run_client(world);

		for (unsigned i = 0; i < world->npeers; i++)
			if (world->peers[i].fd >= 0)
				busy |= run_peer(world, &world->peers[i]);
		quiet = busy ? 0 : quiet + 1;
		loop_timer_start(timer, 0);
		loop_run(world->proxy.loop);
	}
	loop_timer_free(timer);
}

/* ---- the client ---- */

void world_say(struct world *world, const void *data, size_t len)
{
	iobuf_append(&world->said, data, len);
}

void world_cancel(struct world *world)
{
	struct iobuf request;
	int ends[2];

	if (world->ncancels == sizeof(world->cancels) / sizeof(world->cancels[0]) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	world->cancels[world->ncancels++] = ends[1];
	iobuf_init(&request);
	wire_put_cancel(&request, SERVER_PID, (const uint8_t *)SERVER_SECRET, 4);
	write_some(ends[1], &request);
	iobuf_fini(&request);
	session_open(&world->proxy, ends[0]);
}

void world_leave(struct world *world)
{
	if (world->client >= 0)
		close(world->client);
	world->client = -1;
}

void world_login(struct world *world, const char *user)
{
	struct iobuf out;

	iobuf_init(&out);
	wire_put_u32(&out, (uint32_t)(4 + 4 + sizeof("user") + strlen(user) + 1 + 1));
	wire_put_u32(&out, 3 << 16);
	wire_put_string(&out, "user");
	wire_put_string(&out, user);
	wire_put_u8(&out, 0);
	world_say(world, iobuf_head(&out), iobuf_len(&out));
	iobuf_fini(&out);
	world_settle(world);
}
