/*
 * Control: see control.h.
 *
 * A session's transaction ends in an event of that session; nobody tells us. So while
 * pgtopk drains, the sessions that are left are looked at every few milliseconds.
 */
#include "proxy/control.h"

#include <inttypes.h>
#include <signal.h>

#include "proxy/config.h"
#include "proxy/drain.h"
#include "proxy/linger.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
#include "proxy/service.h"
#include "proxy/session.h"

#define LOOK_MS 20

struct control {
	struct proxy *proxy;
	struct config *config;
	int argc;
	char **argv;
	struct listener *listener;
	struct loop_timer *look;
	uint64_t deadline_ms;
	bool draining;
};

static void on_accept(void *owner, int fd)
{
	struct control *control = owner;

	session_open(control->proxy, fd);
}

static void log_statistics(const struct proxy *proxy)
{
	const struct counters *counters = &proxy->counters;

	log_event(proxy->log, LOG_INFO, "statistics",
	          "clients=%" PRIu64 " sessions=%u routed=%" PRIu64 " rows=%" PRIu64
	          " stale_maps=%" PRIu64 " cancels=%" PRIu64,
	          counters->clients, proxy->session_count, counters->routed, counters->rows,
	          counters->stale_maps, counters->cancels);
	if (counters->shadow_same + counters->shadow_differs + counters->shadow_failed +
	        counters->shadow_skipped >
	    0)
		log_event(proxy->log, LOG_INFO, "statistics",
		          "shadow_same=%" PRIu64 " shadow_differs=%" PRIu64
		          " shadow_failed=%" PRIu64 " shadow_skipped=%" PRIu64,
		          counters->shadow_same, counters->shadow_differs, counters->shadow_failed,
		          counters->shadow_skipped);
	for (int i = 0; i < REFUSAL_COUNT; i++)
		if (counters->refused[i] > 0)
			log_event(proxy->log, LOG_INFO, "statistics", "refused=%s count=%" PRIu64,
			          refusal_name((enum refusal)i), counters->refused[i]);
}

/* ---- the end ---- */

/* The sockets that systemd gave are closed here as well; it keeps its own end of them. */
static void close_listener(struct control *control)
{
	listener_close(control->listener);
	control->listener = NULL;
}

/* Whoever is told now gets to read it, if it reads. */
static void await_lingers(void *owner)
{
	struct control *control = owner;

	if (lingers_count(control->proxy->lingers) > 0)
		loop_timer_start(control->look, LOOK_MS);
	else
		loop_stop(control->proxy->loop);
}

static void stop(struct control *control)
{
	drain_all(control->proxy);
	loop_timer_free(control->look);
	control->look = loop_timer_new(control->proxy->loop, await_lingers, control);
	await_lingers(control);
}

static void look(void *owner)
{
	struct control *control = owner;
	struct proxy *proxy = control->proxy;
	unsigned left = drain_idle(proxy);

	if (left > 0 && loop_now_ms(proxy->loop) < control->deadline_ms) {
		loop_timer_start(control->look, LOOK_MS);
		return;
	}
	if (left > 0)
		log_event(proxy->log, LOG_WARNING, "drain_timeout", "clients=%u", left);
	stop(control);
}

static void drain(struct control *control)
{
	struct proxy *proxy = control->proxy;
	uint64_t timeout = (uint64_t)control->config->shutdown_timeout;

	control->draining = true;
	control->deadline_ms = loop_now_ms(proxy->loop) + timeout;
	close_listener(control);
	drain_idle(proxy);
	log_event(proxy->log, LOG_INFO, "draining", "clients=%u timeout_ms=%" PRIu64,
	          proxy->session_count, timeout);
	service_stopping(proxy->session_count, timeout);
	look(control);
}

static const char *signal_name(int signum)
{
	return signum == SIGTERM ? "TERM" : signum == SIGINT ? "INT" : "QUIT";
}

static void on_end(void *owner, int signum)
{
	struct control *control = owner;
	struct proxy *proxy = control->proxy;

	log_event(proxy->log, LOG_INFO, "stopping", "signal=%s clients=%u", signal_name(signum),
	          proxy->session_count);
	if (signum == SIGTERM && !control->draining) {
		drain(control);
		return;
	}
	service_stopping(proxy->session_count, 0);
	close_listener(control);
	stop(control);
}

/* ---- other signals ---- */

static void on_reload(void *owner, int signum)
{
	struct control *control = owner;

	(void)signum;
	if (control->draining)
		return;
	service_reloading();
	reload_run(control->proxy, control->config, control->argc, control->argv);
	service_ready(control->proxy->session_count);
}

static void on_statistics(void *owner, int signum)
{
	struct control *control = owner;

	(void)signum;
	log_statistics(control->proxy);
}

static void watch_signals(struct control *control)
{
	struct loop *loop = control->proxy->loop;

	signal(SIGPIPE, SIG_IGN);
	loop_on_signal(loop, SIGHUP, on_reload, control);
	loop_on_signal(loop, SIGTERM, on_end, control);
	loop_on_signal(loop, SIGINT, on_end, control);
	loop_on_signal(loop, SIGQUIT, on_end, control);
	loop_on_signal(loop, SIGUSR1, on_statistics, control);
}

/* ---- listening ---- */

static bool listen_somewhere(struct control *control, char *error, size_t error_size)
{
	struct proxy *proxy = control->proxy;
	struct listener_options options = {
	    .loop = proxy->loop,
	    .log = proxy->log,
	    .fn = on_accept,
	    .owner = control,
	};
	int first;
	unsigned given = service_sockets(&first);

	if (given > 0)
		control->listener = listener_take(&options, first, given, error, error_size);
	else
		control->listener =
		    listener_open(&options, control->config->listen, error, error_size);
	if (!control->listener)
		return false;
	log_event(proxy->log, LOG_INFO, "listening", "address=%s coordinator=%s version=%s",
	          given > 0 ? "systemd" : log_quote(control->config->listen),
	          log_quote(proxy->coordinator), PACKAGE_VERSION);
	service_ready(0);
	return true;
}

bool control_run(struct proxy *proxy, struct config *config, int argc, char **argv, char *error,
                 size_t error_size)
{
	struct control control = {.proxy = proxy, .config = config, .argc = argc, .argv = argv};
	bool ok;

	watch_signals(&control);
	control.look = loop_timer_new(proxy->loop, look, &control);
	ok = listen_somewhere(&control, error, error_size);
	if (ok) {
		loop_run(proxy->loop);
		log_statistics(proxy);
	}
	loop_timer_free(control.look);
	return ok;
}
