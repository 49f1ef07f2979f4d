/*
 * Cancel: see cancel.h. The key is the coordinator's own (BackendKeyData passes
 * through untouched), so the request can be passed on as it is. A key that
 * nobody has costs one look-up and nothing else.
 */
#include "proxy/cancel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proxy/config.h"
#include "proxy/delivery.h"
#include "proxy/explain_route.h"
#include "proxy/log.h"
#include "proxy/session.h"

#define KEY_OFFSET 8 /* behind length and request code */

/* One request on its way to the coordinator. */
struct cancel {
	struct proxy *proxy;
	struct delivery *delivery;
	struct session *carrier; /* NULL: has left */
	struct session *target;  /* NULL: has ended */
	struct cancel *prev, *next;
};

void cancel_learn(struct session *session, const uint8_t *key, size_t len)
{
	struct session *other;

	HASH_FIND(hh, session->proxy->by_key, key, len, other);
	if (session->key || other) /* of two sessions with one key none may be hit by mistake */
		return;
	session->key = malloc(len);
	if (!session->key)
		abort();
	memcpy(session->key, key, len);
	session->key_len = len;
	HASH_ADD_KEYPTR(hh, session->proxy->by_key, session->key, len, session);
}

void cancel_forget(struct session *session)
{
	struct proxy *proxy = session->proxy;
	struct cancel *cancel;

	if (session->key)
		HASH_DELETE(hh, proxy->by_key, session);
	DL_FOREACH (proxy->cancels, cancel) {
		if (cancel->carrier == session)
			cancel->carrier = NULL;
		if (cancel->target == session)
			cancel->target = NULL;
	}
}

static void on_delivered(void *owner)
{
	struct cancel *cancel = owner;
	struct session *target = cancel->target;

	DL_DELETE(cancel->proxy->cancels, cancel);
	if (cancel->carrier)
		session_close(cancel->carrier, "cancel_done");
	free(cancel);
	if (target && --target->cancels_on_way == 0)
		session_continue(target);
}

/* The target's coordinator may be one of several hosts: the request must reach that one. */
static void deliver(struct session *carrier, struct session *target, const uint8_t *message,
                    size_t len)
{
	struct proxy *proxy = carrier->proxy;
	struct cancel *cancel = calloc(1, sizeof(*cancel));
	const char *keywords[DELIVERY_KEYWORDS], *values[DELIVERY_KEYWORDS];
	struct pq_target where;

	if (!cancel)
		abort();
	cancel->proxy = proxy;
	cancel->carrier = carrier;
	cancel->target = target;
	target->cancels_on_way++;
	DL_APPEND(proxy->cancels, cancel);
	delivery_target(&where, proxy->config->coordinator, pq_link_peer(target->link), keywords,
	                values);
	cancel->delivery =
	    delivery_start(proxy->loop, &where, message, len,
	                   (uint64_t)proxy->config->connect_timeout, on_delivered, cancel);
}

void cancel_request(struct session *carrier, const uint8_t *message, size_t len)
{
	struct proxy *proxy = carrier->proxy;
	struct session *target;

	HASH_FIND(hh, proxy->by_key, message + KEY_OFFSET, len - KEY_OFFSET, target);
	if (!target) {
		session_close(carrier, "cancel_unknown");
		return;
	}
	proxy->counters.cancels++;
	log_event(proxy->log, LOG_DEBUG, "cancel", "session=%" PRIu64 " routed=%s", target->id,
	          target->route.scatter ? "yes" : "no");
	if (target->route.scatter)
		scatter_cancel(target->route.scatter);
	else if (target->route.arena && !target->on_replies_drained) /* else it has not begun */
		target->route.cancelled = true;
	explain_route_cancel(target);
	if ((replies_drained(&target->replies) && !target->inner) || !target->link) {
		session_close(carrier, "cancel_done");
		return;
	}
	deliver(carrier, target, message, len);
	carrier->phase = SESSION_CARRIER;
	iobuf_consume(&carrier->client.in, len);
}

void cancel_end_all(struct proxy *proxy)
{
	while (proxy->cancels) {
		struct cancel *cancel = proxy->cancels;

		DL_DELETE(proxy->cancels, cancel);
		delivery_free(cancel->delivery);
		free(cancel);
	}
}
