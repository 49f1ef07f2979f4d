/*
 * Session: one client's life, from accept to close: its stream, its coordinator
 * stream, and what is known of the state that both share.
 *
 * session.c opens, connects and closes; startup.c and login.c let the client in; relay.c moves messages between the two streams and
 * decides which of them is looked at; simple.c and extended.c handle statements
 * that may be routed; route.c gets such a statement planned; scatter.c asks the
 * shards; answer.c hands the rows out.
 *
 * One rule holds them together: client messages are handled strictly in order.
 * While a statement is planned, routed or answered the session is busy and
 * later client messages wait (session_begin_work / session_end_work).
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "proxy/answer.h"
#include "proxy/deallocate.h"
#include "proxy/facts.h"
#include "proxy/footnote.h"
#include "proxy/notices.h"
#include "proxy/proxy.h"
#include "proxy/replies.h"
#include "proxy/route.h"
#include "proxy/shadow.h"
#include "proxy/shard_settings.h"
#include "proxy/statements.h"
#include "proxy/stream.h"
#include "proxy/wire.h"

enum session_phase {
	SESSION_STARTUP,    /* awaits the client's StartupMessage */
	SESSION_CARRIER,    /* has brought a CancelRequest: closed once that is delivered */
	SESSION_CONNECTING, /* awaits the coordinator's connection */
	SESSION_LOGIN,      /* login.h; awaits the first ReadyForQuery */
	SESSION_READY,
	SESSION_CLOSED, /* freed at the end of the turn */
};

/* A batch of our own on the session's coordinator connection, hidden from the client. */
struct session_inner {
	void (*on_message)(struct session *session, uint8_t type, const uint8_t *body, size_t len);
	void (*on_ready)(struct session *session);
};

struct session {
	struct proxy *proxy;
	struct session *prev, *next;
	uint64_t id;
	enum session_phase phase;
	bool relaying;     /* relay_client_input() is on the stack */
	bool busy;         /* a statement is being worked on: client messages wait */
	bool skipping;     /* pgtopk sent an error: drop client messages up to Sync */
	bool replication;  /* relayed without a look */
	bool leaving;      /* the client has sent Terminate, or all that it ever will */
	bool client_ended; /* it has closed its side, and may still read */
	bool astray;       /* it has left the protocol: the coordinator will hang up */
	bool told;         /* the client has been sent a FATAL error of ours */
	bool asked_tls, asked_gss;

	struct stream client;
	struct stream coordinator;
	struct tls *client_tls, *coordinator_tls; /* NULL: plain; the first is its stream's */
	struct pq_attempt *dialling;              /* while SESSION_CONNECTING */
	struct pq_link *link;
	struct loop_timer *timer; /* login_timeout; later a routed statement's statement_timeout */
	struct iobuf startup;     /* the StartupMessage until the coordinator has answered it */
	struct login *login;      /* while SESSION_LOGIN */
	char *user;
	char *database;
	struct census_entry *of_user, *of_database, *of_address;

	uint8_t *key; /* BackendKeyData's body: process id and secret; NULL: none */
	size_t key_len;
	UT_hash_handle hh;       /* in proxy->by_key */
	unsigned cancels_on_way; /* to the coordinator: they must not hit a later statement */

	/* framing: bytes of the current message that pass without a look */
	size_t client_left;
	bool client_dropped; /* those bytes are not for the coordinator */
	size_t coordinator_left;
	bool coordinator_hidden;  /* those bytes are not for the client */
	uint8_t coordinator_last; /* type of its last message */

	struct replies replies;
	char status; /* of the last ReadyForQuery: I, T, E */
	const struct session_inner *inner;
	struct iobuf error; /* ErrorResponse of the statement that is worked on, not sent yet */
	void (*on_failed)(struct session *session);
	void (*on_replies_drained)(struct session *session);

	struct facts *facts;
	struct shard_settings shard_settings;
	struct statements statements;
	struct deallocate deallocate;
	uint64_t parses_sent;      /* Parse messages to the coordinator, hidden ones too, */
	uint64_t parses_confirmed; /* and those known to have succeeded */
	struct iobuf journal; /* client messages answered here, which may have to be replayed */
	struct iobuf held;    /* our replies to them, not yet sent */
	struct iobuf message; /* the message being worked on */
	unsigned retries;     /* of that message, after a stale shard map */
	uint64_t began_us;    /* when work on it began */
	struct route route;
	struct answer answer;
	struct footnote footnote;
	struct shadow *shadow; /* NULL: none */
	struct notices_told told_notices;
};

/* Takes the accepted descriptor over. */
void session_open(struct proxy *proxy, int fd);
/* Ends the session; memory goes at the end of the turn. reason is for the log. */
void session_close(struct session *session, const char *reason);
/* Sends FATAL and closes. */
void session_fatal(struct session *session, const char *sqlstate, const char *message,
                   const char *reason);
/* The same with detail and hint. */
void session_end(struct session *session, const struct wire_error *error, const char *reason);
/*
 * The statement being worked on fails. With error NULL the coordinator has said why, in a hidden
 * batch. In a transaction block the block fails with it, on the coordinator too. Then the client
 * is sent the error and done() is called.
 */
void session_fail(struct session *session, const struct wire_error *error,
                  void (*done)(struct session *session));

/* No client message is handled between these two; the second may go on at once. */
void session_begin_work(struct session *session);
void session_end_work(struct session *session);

/* What held the client's messages up is gone: they are handled, unless something else does. */
void session_continue(struct session *session);
/* Pauses and resumes reading, so that no side's bytes pile up here. */
void session_balance(struct session *session);

/* The coordinator has answered everything, to the last byte. */
bool session_owes_nothing(const struct session *session);
/*
 * Calls fn once the coordinator owes no reply, at once if it owes none now. What it
 * keeps back for want of a Sync is asked for by Flush. Only while busy.
 */
void session_await_replies(struct session *session, void (*fn)(struct session *session));
void session_replies_drained(struct session *session);

/* Starts a hidden batch: the caller has appended it to coordinator.out, ending with Sync.
 * Needs replies_drained() and nothing touched. */
void session_start_inner(struct session *session, const struct session_inner *inner);

/* Connects to the coordinator, sends it session->startup and begins the login. sslmode: other
 * than configured, or NULL. */
void session_dial(struct session *session, const char *sslmode);

/* relay.c */
void relay_client_input(struct session *session);
void relay_coordinator_input(struct session *session);
/* Forwards the message in session->message as if nobody had looked at it. */
void relay_message(struct session *session);

/* simple.c: a Query message worth a look, in session->message. */
void simple_query(struct session *session);

/*
 * extended.c: one message of the extended protocol in session->message, while there are
 * statements that may be routed or it could become one.
 */
void extended_message(struct session *session, uint8_t type);

#endif
