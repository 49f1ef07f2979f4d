/*
 * Raw: see raw.h.
 */
#include "t/lib/raw.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define PAUSE_US 1500

void raw_open(struct raw *raw, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1;

	memset(raw, 0, sizeof(*raw));
	iobuf_init(&raw->out);
	iobuf_init(&raw->in);
	raw->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(raw->fd, 0);
	setsockopt(raw->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(raw->fd, (struct sockaddr *)&address, sizeof(address)), 0, "%s",
	             strerror(errno));
}

static void put_startup(struct iobuf *out)
{
	static const char options[] = "user\0postgres\0database\0postgres\0";

	wire_put_u32(out, 8 + sizeof(options));
	wire_put_u32(out, 3 << 16);
	wire_put_bytes(out, options, sizeof(options));
}

void raw_login(struct raw *raw, int port)
{
	char *greeting;

	raw_open(raw, port);
	put_startup(&raw->out);
	raw_send(raw, 0);
	greeting = raw_read(raw, WIRE_BE_ReadyForQuery, 1);
	cr_assert(raw->key_len > 0, "%s", greeting);
	free(greeting);
}

void raw_close(struct raw *raw)
{
	if (raw->fd >= 0)
		close(raw->fd);
	raw->fd = -1;
	iobuf_fini(&raw->out);
	iobuf_fini(&raw->in);
}

/* ---- writing ---- */

void raw_put_bind(struct iobuf *out, const char *portal, const char *statement,
                  const struct raw_value *values, unsigned nvalues, uint16_t format,
                  uint16_t result_format)
{
	size_t mark = wire_begin(out, WIRE_FE_Bind);

	wire_put_string(out, portal);
	wire_put_string(out, statement);
	wire_put_u16(out, 1);
	wire_put_u16(out, format);
	wire_put_u16(out, (uint16_t)nvalues);
	for (unsigned i = 0; i < nvalues; i++) {
		int len = values[i].len == -2 ? (int)strlen(values[i].data) : values[i].len;

		wire_put_u32(out, (uint32_t)len);
		if (len > 0)
			wire_put_bytes(out, values[i].data, (size_t)len);
	}
	wire_put_u16(out, 1);
	wire_put_u16(out, result_format);
	wire_end(out, mark);
}

void raw_put_statement(struct iobuf *out, const char *sql, unsigned nvalues,
                       const char *const *values)
{
	struct raw_value copies[16];

	cr_assert_leq(nvalues, 16);
	for (unsigned i = 0; i < nvalues; i++)
		copies[i] = (struct raw_value){values[i], values[i] ? -2 : -1};
	wire_put_parse(out, "", sql, strlen(sql), 0, NULL);
	raw_put_bind(out, "", "", copies, nvalues, 0, 0);
	wire_put_describe(out, 'P', "");
	wire_put_execute(out, "", 0);
}

/* ---- sending and receiving ---- */

static void receive(struct raw *raw)
{
	uint8_t *room = iobuf_reserve(&raw->in, 65536);
	ssize_t n = recv(raw->fd, room, 65536, MSG_DONTWAIT);

	if (n > 0)
		iobuf_commit(&raw->in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		raw->ended = true;
}

/* Sends len bytes of raw.out, and reads whatever comes, so that nobody blocks. */
static void send_bytes(struct raw *raw, size_t len)
{
	while (len > 0 && !raw->ended) {
		struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN | POLLOUT};

		cr_assert_gt(poll(&pollfd, 1, TIMEOUT_MS), 0, "time is up: cannot send");
		if (pollfd.revents & POLLIN)
			receive(raw);
		if (pollfd.revents & POLLOUT) {
			ssize_t n =
			    send(raw->fd, iobuf_head(&raw->out), len, MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return;
			if (n > 0) {
				iobuf_consume(&raw->out, (size_t)n);
				len -= (size_t)n;
			}
		}
	}
}

void raw_send(struct raw *raw, size_t piece)
{
	while (iobuf_len(&raw->out) > 0) {
		size_t len = iobuf_len(&raw->out);

		if (piece > 0 && piece < len)
			len = piece;
		send_bytes(raw, len);
		if (raw->ended)
			break;
		if (piece > 0)
			usleep(PAUSE_US);
	}
	iobuf_consume(&raw->out, iobuf_len(&raw->out));
}

void raw_send_cut(struct raw *raw, size_t cut)
{
	send_bytes(raw, cut);
	usleep(PAUSE_US);
	raw_send(raw, 0);
}

bool raw_readable(struct raw *raw, int timeout_ms)
{
	struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};

	return iobuf_len(&raw->in) > 0 || poll(&pollfd, 1, timeout_ms) > 0;
}

/* ---- messages as text ---- */

static void print_bytes(FILE *to, const uint8_t *body, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (isprint(body[i]) && body[i] != '\\')
			fputc(body[i], to);
		else
			fprintf(to, "\\%x", body[i]);
	}
}

/* Without where in the server's source it came from, and PL/pgSQL-like context. */
static void print_error(FILE *to, const uint8_t *body, size_t len)
{
	for (const char *code = "SVCMDHPNTsdtcn"; *code; code++) {
		const char *field = wire_error_field(body, len, *code);

		if (field)
			fprintf(to, " %c=%s", *code, field);
	}
}

static void print_message(FILE *to, uint8_t type, const uint8_t *body, size_t len)
{
	fprintf(to, "%s", wire_backend_name(type));
	if (type == WIRE_BE_ErrorResponse || type == WIRE_BE_NoticeResponse) {
		print_error(to, body, len);
	} else if (len > 0) {
		fputc(' ', to);
		print_bytes(to, body, len);
	}
	fputc('\n', to);
}

static void keep_key(struct raw *raw, const uint8_t *body, size_t len)
{
	raw->pid = wire_u32(body);
	raw->key_len = len - 4;
	cr_assert_leq(raw->key_len, RAW_KEY_MAX);
	memcpy(raw->key, body + 4, raw->key_len);
}

/* Takes one whole message from raw.in; 0 if there is none. */
static uint8_t take_message(struct raw *raw, FILE *to)
{
	const uint8_t *at = iobuf_head(&raw->in);
	uint8_t type;
	size_t total;
	enum wire_frame frame = wire_frame(at, iobuf_len(&raw->in), &type, &total);

	cr_assert_neq(frame, WIRE_FRAME_BAD);
	if (frame == WIRE_FRAME_MORE || iobuf_len(&raw->in) < total)
		return 0;
	if (type == WIRE_BE_BackendKeyData)
		keep_key(raw, at + WIRE_HEADER, total - WIRE_HEADER);
	else
		print_message(to, type, at + WIRE_HEADER, total - WIRE_HEADER);
	iobuf_consume(&raw->in, total);
	return type;
}

char *raw_read(struct raw *raw, uint8_t type, unsigned count)
{
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	while (count > 0) {
		struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};
		uint8_t found = take_message(raw, to);

		count -= found == type;
		if (found)
			continue;
		if (raw->ended) {
			fputs("end\n", to);
			break;
		}
		if (poll(&pollfd, 1, TIMEOUT_MS) <= 0) {
			fflush(to);
			cr_assert_fail("time is up: %u more %s expected after\n%.3000s", count,
			               wire_backend_name(type), said);
		}
		receive(raw);
	}
	fclose(to);
	return said;
}

char raw_read_byte(struct raw *raw)
{
	char byte = '\0';

	while (iobuf_len(&raw->in) == 0 && !raw->ended) {
		struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};

		cr_assert_gt(poll(&pollfd, 1, TIMEOUT_MS), 0, "time is up: no answer");
		receive(raw);
	}
	if (iobuf_len(&raw->in) > 0) {
		byte = (char)iobuf_head(&raw->in)[0];
		iobuf_consume(&raw->in, 1);
	}
	return byte;
}

char *raw_read_bytes(struct raw *raw)
{
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	while (!raw->ended) {
		struct pollfd pollfd = {.fd = raw->fd, .events = POLLIN};

		cr_assert_gt(poll(&pollfd, 1, TIMEOUT_MS), 0, "time is up: no end");
		receive(raw);
	}
	print_bytes(to, iobuf_head(&raw->in), iobuf_len(&raw->in));
	iobuf_consume(&raw->in, iobuf_len(&raw->in));
	fclose(to);
	return said;
}

void raw_cancel(int port, uint32_t pid, const uint8_t *key, size_t key_len)
{
	struct raw raw;
	char *said;

	raw_open(&raw, port);
	wire_put_cancel(&raw.out, pid, key, key_len);
	raw_send(&raw, 0);
	said = raw_read_bytes(&raw); /* nothing but the end */
	cr_assert_str_empty(said, "%s", said);
	free(said);
	raw_close(&raw);
}
