/*
 * Journal: see journal.h.
 */
#include "proxy/journal.h"

#include <assert.h>

#include "proxy/session.h"

void journal_add(struct session *session)
{
	iobuf_append(&session->journal, iobuf_head(&session->message),
	             iobuf_len(&session->message));
	if (iobuf_len(&session->journal) + iobuf_len(&session->held) >= STREAM_HIGH_WATER)
		journal_settle(session);
}

void journal_clear(struct session *session)
{
	struct statement *statement, *next_statement;
	struct portal *portal, *next_portal;

	HASH_ITER (hh, session->statements.by_name, statement, next_statement)
		statement->journaled = false;
	HASH_ITER (hh, session->statements.portals, portal, next_portal)
		portal->journaled = false;
	iobuf_fini(&session->journal);
	iobuf_fini(&session->held);
}

/* Sends held replies: from now on the client knows them. */
void journal_settle(struct session *session)
{
	if (iobuf_len(&session->journal) == 0 && iobuf_len(&session->held) == 0)
		return;
	iobuf_append(&session->client.out, iobuf_head(&session->held), iobuf_len(&session->held));
	stream_flush(&session->client);
	journal_clear(session);
}

static void send_hidden(struct session *session, enum reply reply, const uint8_t *message,
                        size_t len)
{
	replies_expect(&session->replies, reply, true);
	stream_write(&session->coordinator, message, len);
}

void journal_hand_over_statement(struct session *session, struct statement *statement)
{
	if (!statement->here_only)
		return;
	statement->handed_over = !statement->journaled;
	if (!statement->journaled)
		send_hidden(session, REPLY_PARSE, statement->parse, statement->parse_len);
	statement->here_only = false;
	statement->sequence = ++session->parses_sent;
}

/* Before the journal is sent: what the coordinator needs besides. */
static void hand_over_portal(struct session *session, struct portal *portal)
{
	journal_hand_over_statement(session, portal->statement);
	if (!portal->journaled)
		send_hidden(session, REPLY_BIND, portal->bind, portal->bind_len);
}

bool journal_hand_over_name(struct session *session, struct portal *portal)
{
	if (!portal->statement)
		return false;
	journal_settle(session);
	hand_over_portal(session, portal);
	return true;
}

static enum reply journal_reply(uint8_t type)
{
	switch (type) {
	case WIRE_FE_Parse:
		return REPLY_PARSE;
	case WIRE_FE_Bind:
		return REPLY_BIND;
	default:
		assert(type == WIRE_FE_Describe);
		return REPLY_DESCRIBE;
	}
}

/* The coordinator answers the journal's messages, not we. */
static void replay_journal(struct session *session)
{
	const uint8_t *at = iobuf_head(&session->journal);
	size_t left = iobuf_len(&session->journal), total;
	uint8_t type;

	while (left > 0) {
		enum wire_frame frame = wire_frame(at, left, &type, &total);

		assert(frame == WIRE_FRAME_OK && total <= left);
		replies_expect(&session->replies, journal_reply(type), false);
		at += total;
		left -= total;
	}
	stream_write(&session->coordinator, iobuf_head(&session->journal),
	             iobuf_len(&session->journal));
	journal_clear(session);
}

/* Portals that were bound here but not executed become the coordinator's. */
void journal_hand_over_portals(struct session *session)
{
	struct portal *portal, *next;

	HASH_ITER (hh, session->statements.portals, portal, next) {
		if (!portal->executed)
			hand_over_portal(session, portal);
	}
	replay_journal(session);
	HASH_ITER (hh, session->statements.portals, portal, next) {
		if (!portal->executed)
			statements_drop_portal(&session->statements, portal->name);
	}
}

/* Portals of a statement that is about to be replaced live on without it. */
void journal_release_portals_of(struct session *session, const char *name)
{
	struct statement *statement = statements_find(&session->statements, name);
	struct portal *portal, *next;

	if (!statement)
		return;
	HASH_ITER (hh, session->statements.portals, portal, next) {
		if (portal->statement == statement && !portal->executed) {
			journal_hand_over_portals(session);
			return;
		}
	}
}

void journal_abandon(struct session *session, bool named_too)
{
	struct statement *statement, *next;

	journal_settle(session);
	journal_hand_over_portals(session);
	HASH_ITER (hh, session->statements.by_name, statement, next) {
		journal_hand_over_statement(session, statement);
		if (named_too || !statement->name[0])
			statements_drop(&session->statements, statement->name);
	}
	statements_drop_portals(&session->statements);
}

void journal_query_follows(struct session *session)
{
	journal_settle(session);
	statements_drop_portals(&session->statements); /* they end with the transaction */
}

/*
 * Statements whose Parse may have failed or been skipped. Whoever was handed over is still
 * prepared as the client sees it, but the coordinator does not have it.
 */
void journal_error(struct session *session)
{
	struct statement *statement, *next;

	HASH_ITER (hh, session->statements.by_name, statement, next) {
		if (statement->here_only || statement->sequence <= session->parses_confirmed)
			continue;
		if (statement->handed_over)
			statement->here_only = true;
		else
			statements_drop(&session->statements, statement->name);
	}
}

void journal_deallocated(struct session *session, const char *name)
{
	struct statement *statement, *next;

	if (name[0]) {
		statements_drop(&session->statements, name);
		return;
	}
	HASH_ITER (hh, session->statements.by_name, statement, next) {
		if (!statement->here_only)
			statements_drop(&session->statements, statement->name);
	}
}
