/*
 * Cancel: see cancel.h. The key is the coordinator's own (BackendKeyData passes
 * through untouched), so the request can be passed on as it is.
 */
#include "proxy/cancel.h"

#include <inttypes.h>
#include <string.h>

#include "proxy/log.h"
#include "proxy/session.h"

#define KEY_OFFSET 8 /* behind length and request code */

static struct session *find(const struct proxy *proxy, const uint8_t *key, size_t len)
{
	for (struct session *session = proxy->sessions; session; session = session->next)
		if (session->key_len == len && len > 0 && memcmp(session->key, key, len) == 0)
			return session;
	return NULL;
}

void cancel_request(struct session *carrier, const uint8_t *message, size_t len)
{
	struct session *session = find(carrier->proxy, message + KEY_OFFSET, len - KEY_OFFSET);

	if (!session) {
		session_close(carrier, "cancel_unknown");
		return;
	}
	carrier->proxy->counters.cancels++;
	log_event(carrier->proxy->log, LOG_DEBUG, "cancel", "session=%" PRIu64 " routed=%s",
	          session->id, session->route.scatter ? "yes" : "no");
	if (session->route.scatter)
		scatter_cancel(session->route.scatter);
	else if (session->route.arena)
		session->route.cancelled = true;
	if (replies_drained(&session->replies)) {
		session_close(carrier, "cancel_done");
		return;
	}
	iobuf_append(&carrier->startup, message, len);
	iobuf_consume(&carrier->client.in, len);
	session_connect(carrier); /* the coordinator closes when it has the request */
}
