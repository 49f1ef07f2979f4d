/*
 * Raw: a client that speaks the protocol byte by byte, for what no driver sends:
 * any messages in any order, in pieces of any size, cut anywhere.
 *
 * Messages are composed in raw.out with proxy/wire.h's writers and those below.
 * What comes back is turned into text, a line per message, so that two servers'
 * answers can be compared and a difference can be read.
 */
#ifndef T_LIB_RAW_H
#define T_LIB_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/iobuf.h"
#include "proxy/wire.h"

#define RAW_KEY_MAX 256

struct raw {
	int fd;
	struct iobuf out; /* composed, not yet sent */
	struct iobuf in;  /* received, not yet read */
	bool ended;       /* the server has closed the connection */
	uint32_t pid;     /* of BackendKeyData */
	uint8_t key[RAW_KEY_MAX];
	size_t key_len;
};

/* Connects to 127.0.0.1; raw_login() as postgres as well. */
void raw_open(struct raw *raw, int port);
void raw_login(struct raw *raw, int port);
void raw_close(struct raw *raw);

/* A Bind: parameters as text, NULL for a NULL, all in one format; result columns too. */
struct raw_value {
	const void *data;
	int len; /* -1: NULL; -2: data is a string */
};
void raw_put_bind(struct iobuf *out, const char *portal, const char *statement,
                  const struct raw_value *values, unsigned nvalues, uint16_t format,
                  uint16_t result_format);
/* Parse, Bind of text values, Describe of the portal and Execute, without Sync. */
void raw_put_statement(struct iobuf *out, const char *sql, unsigned nvalues,
                       const char *const *values);

/* Sends raw.out in pieces of so many bytes, 0: all at once; reads meanwhile. */
void raw_send(struct raw *raw, size_t piece);
/* Sends the first `cut` bytes, waits a moment, then the rest. */
void raw_send_cut(struct raw *raw, size_t cut);

/*
 * Text of all messages up to and including the count-th of that type, or up to the end
 * of the connection ("end"). Fails the test after ten seconds. The caller's to free.
 */
char *raw_read(struct raw *raw, uint8_t type, unsigned count);
/* One byte without a message around it: the answer to an SSLRequest. '\0' at the end. */
char raw_read_byte(struct raw *raw);
/* Text of all bytes up to the end of the connection. The caller's to free. */
char *raw_read_bytes(struct raw *raw);
/* True if something arrives within that time. */
bool raw_readable(struct raw *raw, int timeout_ms);

/* Sends a CancelRequest on a connection of its own. */
void raw_cancel(int port, uint32_t pid, const uint8_t *key, size_t key_len);

#endif
