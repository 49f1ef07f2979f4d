/*
 * Keylogin: servers that do not keep to the protocol, or pose as one that they are
 * not. What they say is played from a list, a line for each message that comes.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/keylogin.h"
#include "proxy/wire.h"
#include "t/lib/back.h"
#include "t/lib/cluster.h"

#define MINUS_ONE 0xffffffffu

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
	(void)set;
	cluster_up(); /* back_open() wants to know its ports */
}

struct line {
	uint8_t type;  /* 0: the end */
	uint32_t code; /* of Authentication; else not sent if MINUS_ONE */
	const char *body;
	size_t len; /* 0: as long as the string */
};

static void put_line(struct iobuf *out, const struct line *line)
{
	size_t mark = wire_begin(out, line->type);

	if (line->code != MINUS_ONE)
		wire_put_u32(out, line->code);
	wire_put_bytes(out, line->body, line->len ? line->len : strlen(line->body));
	wire_end(out, mark);
}

/* Says one line for each message that comes, then waits for the end. */
static void play(int listener, const struct line *lines)
{
	int fd = accept(listener, NULL, NULL);
	uint8_t heard[4096];

	alarm(20);
	for (; lines->type && read(fd, heard, sizeof(heard)) > 0; lines++) {
		struct iobuf out = {0};

		put_line(&out, lines);
		if (write(fd, iobuf_head(&out), iobuf_len(&out)) < 0)
			break;
		iobuf_fini(&out);
	}
	while (read(fd, heard, sizeof(heard)) > 0)
		;
	_exit(0);
}

/* What is said of a server that says these lines. */
static const char *verdict(const struct line *lines)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct scram_keys keys = {.client_key = "any"};
	static const char *const options[] = {"worker", "sslmode=disable", "connect_timeout", "1s",
	                                      NULL};
	struct pool *pool;
	const char *why = NULL;
	struct back back;
	pid_t child;

	cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0)
		play(listener, lines);
	close(listener); /* libpq's try afterwards is refused */
	back_open(&back, options);
	keyring_put(back.keyring, "k_user", &keys);
	pool = pools_get(back.pools, "127.0.0.1", ntohs(address.sin_port), "postgres", "k_user");
	cr_assert_null(back_take(&back, pool, &why));
	back_close(&back);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return why;
}

#define LIST "SCRAM-SHA-256\0"
static void is_refused(const struct line *lines, const char *expected)
{
	const char *why = verdict(lines);

	cr_assert(strstr(why, expected), "%s, not %s", why, expected);
}

Test(keylogin_rogue, a_server_that_has_proved_nothing_is_not_believed)
{
	const struct line early[] = {{'R', 10, LIST, 15}, {'R', 0, "", 0}, {0}};
	const struct line guess[] = {{'R', 10, LIST, 15}, {'R', 12, "v=AAAA", 0}, {0}};
	const struct line nonce[] = {{'R', 10, LIST, 15}, {'R', 11, "r=theirs,s=AAAA,i=1", 0}, {0}};

	is_refused(early, "protocol error: unexpected Authentication");
	is_refused(guess, "protocol error: unexpected Authentication");
	is_refused(nonce, "invalid SCRAM response (nonce mismatch)");
}

Test(keylogin_rogue, messages_that_cannot_be_are_refused)
{
	static char key[300] = "1234567";
	const struct line ready[] = {{'Z', MINUS_ONE, "I", 0}, {0}};
	const struct line status[] = {{'S', MINUS_ONE, "a\0b", 4}, {0}};
	const struct line data[] = {{'D', MINUS_ONE, "\0\0", 2}, {0}};
	const struct line no_code[] = {{'R', MINUS_ONE, "xxx", 3}, {0}};
	const struct line error[] = {{'E', MINUS_ONE, "Cxxxxx", 6}, {0}};
	const struct line early_key[] = {{'K', MINUS_ONE, key, 8}, {0}};
	const struct line mechanism[] = {{'R', 10, "SCRAM-SHA-1\0", 13}, {0}};
	const struct line list[] = {{'R', 10, "SCRAM-SHA-256", 13}, {0}};

	is_refused(ready, "protocol error: unexpected ReadyForQuery");
	is_refused(status, "protocol error: unexpected ParameterStatus");
	is_refused(data, "protocol error: unexpected DataRow");
	is_refused(no_code, "protocol error: unexpected Authentication");
	is_refused(error, "protocol error: malformed ErrorResponse");
	is_refused(early_key, "protocol error: unexpected BackendKeyData");
	is_refused(mechanism, "none of the server's SASL authentication mechanisms");
	is_refused(list, "malformed list of SASL mechanisms");
}

Test(keylogin_rogue, a_message_as_long_as_a_book_is_refused)
{
	static char book[40000];
	const struct line lines[] = {{'N', MINUS_ONE, book, sizeof(book)}, {0}};

	is_refused(lines, "protocol error: a message of impossible length");
}

Test(keylogin_rogue, a_server_that_says_nothing_costs_the_time_to_connect)
{
	const struct line lines[] = {{0}};
	const char *why = verdict(lines);

	cr_assert(strstr(why, "timeout expired"), "%s", why);
}
