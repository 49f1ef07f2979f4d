/*
 * Journal: messages of the extended protocol that were answered here instead of by
 * the coordinator, and how it gets them if it has to answer after all.
 *
 * Replies are held until they are settled: before that the journal can be replayed
 * as if nobody had answered; afterwards the coordinator is given what it lacks
 * hidden, one statement or portal at a time.
 */
#ifndef PROXY_JOURNAL_H
#define PROXY_JOURNAL_H

#include <stdbool.h>

struct portal;
struct session;
struct statement;

/* session->message was answered in session->held. What piles up without a Sync is settled. */
void journal_add(struct session *session);
/* Sends held replies: from now on the client knows them. */
void journal_settle(struct session *session);
/* Forgets both; the held replies were sent, or must not be. */
void journal_clear(struct session *session);

/* The coordinator gets a statement that is known here only. */
void journal_hand_over_statement(struct session *session, struct statement *statement);
/* Portals that were bound here but not executed become the coordinator's, held replies are
 * thrown away: it answers the journal's messages. */
void journal_hand_over_portals(struct session *session);
/*
 * A portal that was executed here, whose name is being bound again: the coordinator is given
 * one of that name, so that it says what is wrong. False if its statement is gone.
 */
bool journal_hand_over_name(struct session *session, struct portal *portal);
/* The statement of that name is about to be replaced: its portals live on, over there. */
void journal_release_portals_of(struct session *session, const char *name);

/* Gives everything that is known here only to the coordinator and forgets it; with
 * named_too the named statements, which it knows already, are forgotten as well. */
void journal_abandon(struct session *session, bool named_too);
/* A simple query or function call follows. */
void journal_query_follows(struct session *session);
/* The coordinator reported an error. */
void journal_error(struct session *session);
/* It has dropped that prepared statement; "": it is not known which, or all. */
void journal_deallocated(struct session *session, const char *name);

#endif
