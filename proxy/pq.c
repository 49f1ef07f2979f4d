/*
 * Pq: see pq.h.
 *
 * PQconnectPoll() may close its socket and open another (next address, next
 * host), even under the same number, so its watcher is made anew for each poll.
 * Host names are looked up by libpq itself, which blocks: name a numeric address
 * (or node_map one) where DNS is slow.
 */
#include "proxy/pq.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/delivery.h"
#include "proxy/iobuf.h"
#include "proxy/pq_cancel.h"
#include "proxy/wire.h"

#define MAX_KEYWORDS 96

struct pq_attempt {
	struct loop *loop;
	struct pq_cancels *cancels;
	PGconn *conn;
	struct loop_io *io;
	struct loop_timer *timer;
	char *failed;   /* known before the loop ran */
	bool dialling;  /* the login is not libpq's */
	bool tls_asked; /* the server has been asked for TLS */
	char *sslmode;  /* when dialling */
	pq_connected_fn *fn;
	void *owner;
};

struct pq_link {
	PGconn *conn; /* NULL: dialled and plain */
	int fd;
	struct pq_peer peer;       /* when dialled */
	const char *other_sslmode; /* when dialled; a literal */
	struct pq_cancels *cancels;
	char *conninfo;           /* when dialled and logged in */
	struct iobuf request;     /* the CancelRequest of such a one */
	struct pq_cancel *cancel; /* on its way */
	void (*on_cancelled)(void *owner);
	void *cancel_owner;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- connecting ---- */

/* libpq's messages are lines; the last line's end is cut off, others become blanks. */
static char *one_line(const char *message)
{
	char *line = must(strdup(message));
	size_t len = strlen(line);

	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == ' '))
		line[--len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (line[i] == '\n' || line[i] == '\t')
			line[i] = ' ';
	return line;
}

/* The owner hears of it and the attempt is gone, in whichever order it likes. */
static void attempt_end(struct pq_attempt *attempt, struct pq_link *link, const char *error)
{
	pq_connected_fn *fn = attempt->fn;
	void *owner = attempt->owner;
	char *message = error ? one_line(error) : NULL;

	pq_attempt_free(attempt);
	fn(owner, link, message);
	free(message);
}

static void attempt_succeed(struct pq_attempt *attempt)
{
	struct pq_link *link = must(calloc(1, sizeof(*link)));

	link->conn = attempt->conn;
	link->fd = PQsocket(attempt->conn);
	link->cancels = attempt->cancels;
	attempt->conn = NULL;
	/* so that PQfinish() never waits to get its Terminate out */
	PQsetnonblocking(link->conn, 1);
	attempt_end(attempt, link, NULL);
}

static char *copy_or_null(const char *text)
{
	return text && text[0] ? must(strdup(text)) : NULL;
}

/*
 * The socket is the caller's. A PGconn has 32 kB of buffers that nobody will use: without
 * TLS it goes, and the socket lives on by another descriptor.
 */
static void dial_succeed(struct pq_attempt *attempt)
{
	PGconn *conn = attempt->conn;
	bool tls = PQsslInUse(conn);
	int fd = tls ? PQsocket(conn) : fcntl(PQsocket(conn), F_DUPFD_CLOEXEC, 0);
	struct pq_link *link;

	if (fd < 0) {
		attempt_end(attempt, NULL, strerror(errno));
		return;
	}
	link = must(calloc(1, sizeof(*link)));
	link->fd = fd;
	link->peer.host = copy_or_null(PQhost(conn));
	link->peer.hostaddr = copy_or_null(PQhostaddr(conn));
	link->peer.port = copy_or_null(PQport(conn));
	if (tls && strcmp(attempt->sslmode, "prefer") == 0)
		link->other_sslmode = "disable";
	else if (!tls && strcmp(attempt->sslmode, "allow") == 0)
		link->other_sslmode = "require";
	if (tls) {
		link->conn = conn;
		attempt->conn = NULL;
	}
	attempt_end(attempt, link, NULL);
}

/*
 * libpq is in CONNECTION_MADE twice: before it asks for TLS and when it has what sslmode
 * says. Which of the two it is can be told by TLS being in use, having been asked for and
 * denied, or never being asked for. A mode that demands TLS takes nothing else.
 */
static bool has_dialled(struct pq_attempt *attempt)
{
	const char *mode = attempt->sslmode;

	if (PQstatus(attempt->conn) == CONNECTION_SSL_STARTUP)
		attempt->tls_asked = true;
	if (!attempt->dialling || PQstatus(attempt->conn) != CONNECTION_MADE)
		return false;
	if (PQsslInUse(attempt->conn))
		return true;
	if (PQhost(attempt->conn)[0] == '/' || PQhost(attempt->conn)[0] == '@' ||
	    strcmp(mode, "disable") == 0 || strcmp(mode, "allow") == 0)
		return true;
	return strcmp(mode, "prefer") == 0 && attempt->tls_asked;
}

static void attempt_poll(void *owner, unsigned events)
{
	struct pq_attempt *attempt = owner;
	PostgresPollingStatusType status;

	(void)events;
	loop_io_free(attempt->io);
	attempt->io = NULL;
	if (has_dialled(attempt)) { /* a Unix socket connects at once */
		dial_succeed(attempt);
		return;
	}
	status = PQconnectPoll(attempt->conn);
	if (has_dialled(attempt)) {
		dial_succeed(attempt);
		return;
	}
	if (status == PGRES_POLLING_OK) {
		attempt_succeed(attempt);
		return;
	}
	if (status == PGRES_POLLING_FAILED || PQsocket(attempt->conn) < 0) {
		attempt_end(attempt, NULL, PQerrorMessage(attempt->conn));
		return;
	}
	attempt->io = loop_io_new(attempt->loop, PQsocket(attempt->conn), attempt_poll, attempt);
	loop_io_set(attempt->io, status == PGRES_POLLING_READING ? LOOP_READ : LOOP_WRITE);
}

static void attempt_timeout(void *owner)
{
	struct pq_attempt *attempt = owner;

	attempt_end(attempt, NULL, attempt->failed ? attempt->failed : "timeout expired");
}

/* Keyword lists for PQconnectStartParams(): of several values for a keyword the last
 * one counts. */
struct keywords {
	unsigned count;
	const char *keyword[MAX_KEYWORDS + 1];
	const char *value[MAX_KEYWORDS + 1];
};

static void keywords_add(struct keywords *list, const char *keyword, const char *value)
{
	assert(list->count < MAX_KEYWORDS);
	list->keyword[list->count] = keyword;
	list->value[list->count] = value;
	list->count++;
}

static bool overrides(const struct pq_target *target, const char *keyword)
{
	for (unsigned i = 0; target->keywords && target->keywords[i]; i++)
		if (target->values[i] && strcmp(target->keywords[i], keyword) == 0)
			return true;
	return false;
}

static PGconn *start(const struct pq_target *target, char **error)
{
	PQconninfoOption *base = PQconninfoParse(target->conninfo, error);
	struct keywords list = {0};
	PGconn *conn;

	if (!base)
		return NULL;
	keywords_add(&list, "fallback_application_name", "pgtopk");
	for (PQconninfoOption *option = base; option->keyword; option++) {
		/* another host's address is not the overriding host's */
		if (option->val &&
		    !(strcmp(option->keyword, "hostaddr") == 0 && overrides(target, "host")))
			keywords_add(&list, option->keyword, option->val);
	}
	for (unsigned i = 0; target->keywords && target->keywords[i]; i++)
		if (target->values[i])
			keywords_add(&list, target->keywords[i], target->values[i]);
	/* our codec could not read what GSSAPI encrypts */
	keywords_add(&list, "gssencmode", "disable");
	conn = must(PQconnectStartParams(list.keyword, list.value, 0));
	PQconninfoFree(base);
	return conn;
}

/* sslmode as libpq has understood it, from string, service file and environment. */
static char *sslmode_of(PGconn *conn)
{
	PQconninfoOption *options = must(PQconninfo(conn));
	char *mode = NULL;

	for (PQconninfoOption *option = options; option->keyword; option++)
		if (strcmp(option->keyword, "sslmode") == 0 && option->val)
			mode = must(strdup(option->val));
	PQconninfoFree(options);
	return mode ? mode : must(strdup("prefer"));
}

static struct pq_attempt *attempt_new(struct loop *loop, const struct pq_target *target,
                                      uint64_t timeout_ms, pq_connected_fn *fn, void *owner)
{
	struct pq_attempt *attempt = must(calloc(1, sizeof(*attempt)));
	char *error = NULL;

	attempt->loop = loop;
	attempt->fn = fn;
	attempt->owner = owner;
	attempt->timer = loop_timer_new(loop, attempt_timeout, attempt);
	attempt->conn = start(target, &error);
	if (!attempt->conn)
		attempt->failed = must(strdup(error ? error : "out of memory"));
	else if (PQstatus(attempt->conn) == CONNECTION_BAD || PQsocket(attempt->conn) < 0)
		attempt->failed = must(strdup(PQerrorMessage(attempt->conn)));
	PQfreemem(error);
	loop_timer_start(attempt->timer, attempt->failed ? 0 : timeout_ms);
	if (attempt->failed)
		return attempt;
	attempt->io = loop_io_new(loop, PQsocket(attempt->conn), attempt_poll, attempt);
	loop_io_set(attempt->io, LOOP_WRITE);
	return attempt;
}

struct pq_attempt *pq_connect(struct loop *loop, struct pq_cancels *cancels,
                              const struct pq_target *target, uint64_t timeout_ms,
                              pq_connected_fn *fn, void *owner)
{
	struct pq_attempt *attempt = attempt_new(loop, target, timeout_ms, fn, owner);

	attempt->cancels = cancels;
	return attempt;
}

struct pq_attempt *pq_dial(struct loop *loop, const struct pq_target *target, uint64_t timeout_ms,
                           pq_connected_fn *fn, void *owner)
{
	struct pq_attempt *attempt = attempt_new(loop, target, timeout_ms, fn, owner);

	attempt->dialling = true;
	if (!attempt->failed)
		attempt->sslmode = sslmode_of(attempt->conn);
	return attempt;
}

void pq_attempt_free(struct pq_attempt *attempt)
{
	if (!attempt)
		return;
	loop_io_free(attempt->io);
	loop_timer_free(attempt->timer);
	PQfinish(attempt->conn);
	free(attempt->failed);
	free(attempt->sslmode);
	free(attempt);
}

/* ---- a link ---- */

void pq_link_free(struct pq_link *link)
{
	if (!link)
		return;
	if (link->cancel)
		pq_cancel_forget(link->cancel);
	if (link->conn)
		PQfinish(link->conn);
	else
		close(link->fd);
	iobuf_fini(&link->request);
	free(link->conninfo);
	free(link->peer.host);
	free(link->peer.hostaddr);
	free(link->peer.port);
	free(link);
}

int pq_link_fd(const struct pq_link *link)
{
	return link->fd;
}

void *pq_link_ssl(const struct pq_link *link)
{
	return link->conn && PQsslInUse(link->conn) ? PQsslStruct(link->conn, "OpenSSL") : NULL;
}

const struct pq_peer *pq_link_peer(const struct pq_link *link)
{
	return &link->peer;
}

const char *pq_link_other_sslmode(const struct pq_link *link)
{
	return link->other_sslmode;
}

/* ---- cancelling ---- */

static void on_cancelled(void *owner)
{
	struct pq_link *link = owner;
	void (*done)(void *) = link->on_cancelled;

	link->cancel = NULL;
	if (done)
		done(link->cancel_owner);
}

void pq_link_set_key(struct pq_link *link, struct pq_cancels *cancels, const char *conninfo,
                     const uint8_t *key, size_t len)
{
	assert(len > 4 && iobuf_len(&link->request) == 0);
	link->cancels = cancels;
	link->conninfo = must(strdup(conninfo));
	wire_put_cancel(&link->request, wire_u32(key), key + 4, len - 4);
}

static struct pq_cancel *deliver(struct pq_link *link)
{
	const char *keywords[DELIVERY_KEYWORDS], *values[DELIVERY_KEYWORDS];
	struct pq_target target;

	delivery_target(&target, link->conninfo, &link->peer, keywords, values);
	return pq_cancels_deliver(link->cancels, &target, iobuf_head(&link->request),
	                          iobuf_len(&link->request), on_cancelled, link);
}

void pq_link_cancel(struct pq_link *link, void (*done)(void *owner), void *owner)
{
	PGcancel *request = NULL;

	if (link->cancel ||
	    (iobuf_len(&link->request) == 0 && !(request = PQgetCancel(link->conn))))
		return;
	link->on_cancelled = done;
	link->cancel_owner = owner;
	link->cancel =
	    request ? pq_cancels_send(link->cancels, request, on_cancelled, link) : deliver(link);
}

bool pq_link_cancelling(const struct pq_link *link)
{
	return link->cancel != NULL;
}

/* ---- conninfo strings ---- */

static const char *option_value(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val && options->val[0] ? options->val : NULL;
	return NULL;
}

/* libpq reads a service file for defaults only if the environment names the service. */
static PQconninfoOption *defaults_with_service(const char *service)
{
	const char *set = getenv("PGSERVICE");
	char *old = set ? must(strdup(set)) : NULL;
	PQconninfoOption *defaults;

	if (service)
		setenv("PGSERVICE", service, 1);
	defaults = must(PQconndefaults());
	if (service && old)
		setenv("PGSERVICE", old, 1);
	else if (service)
		unsetenv("PGSERVICE");
	free(old);
	return defaults;
}

char *pq_conninfo_value(const char *conninfo, const char *keyword, char **error)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);
	PQconninfoOption *defaults;
	const char *value;
	char *copy = NULL;

	*error = NULL;
	if (!options) {
		*error = one_line(message ? message : "out of memory");
		PQfreemem(message);
		return NULL;
	}
	defaults = defaults_with_service(option_value(options, "service"));
	value = option_value(options, keyword);
	if (!value)
		value = option_value(defaults, keyword);
	if (value)
		copy = must(strdup(value));
	PQconninfoFree(defaults);
	PQconninfoFree(options);
	return copy;
}
