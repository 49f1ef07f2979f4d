/*
 * Drain: see drain.h. Reads the session's state and leaves everything else to it.
 */
#include "proxy/drain.h"

#include <utlist.h>

#include "proxy/proxy.h"
#include "proxy/session.h"

/* The client has been sent whole messages only. */
static bool at_boundary(const struct session *session)
{
	return session->coordinator_left == 0 || session->coordinator_hidden;
}

static void end(struct session *session)
{
	if (session->phase == SESSION_STARTUP || !at_boundary(session))
		session_close(session, "shutdown"); /* it may not even speak the protocol */
	else
		session_fatal(session, "57P01",
		              "terminating connection due to administrator command", "shutdown");
}

/* As after the ReadyForQuery that ends a transaction, with its client having been told. */
static bool is_at_rest(const struct session *session)
{
	return session->status == 'I' && !session->busy && !session->inner &&
	       replies_idle(&session->replies) && session->client_left == 0 &&
	       session->coordinator_left == 0 && iobuf_len(&session->client.out) == 0 &&
	       /* an extended batch that is answered here awaits its Sync */
	       iobuf_len(&session->held) == 0 && iobuf_len(&session->journal) == 0 &&
	       !session->statements.portals && !session->skipping;
}

bool drain_session(struct session *session)
{
	if (session->phase == SESSION_CLOSED)
		return false;
	if (session->phase == SESSION_READY) {
		if (!is_at_rest(session))
			return false;
		/* else the coordinator would wonder about a client that vanished */
		wire_put_bare(&session->coordinator.out, WIRE_FE_Terminate);
	}
	end(session);
	return true;
}

unsigned drain_idle(struct proxy *proxy)
{
	struct session *session, *next;

	DL_FOREACH_SAFE (proxy->sessions, session, next)
		drain_session(session);
	return proxy->session_count;
}

void drain_all(struct proxy *proxy)
{
	struct session *session, *next;

	DL_FOREACH_SAFE (proxy->sessions, session, next)
		end(session);
}
