/*
 * Meddler: see meddler.h. One thread per connection, and one that accepts.
 */
#include "t/lib/meddler.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/wire.h"

#define PAUSE_US 1500
#define POLL_MS 50

struct connection {
	struct meddler *meddler;
	int client, server;
	bool stalled_client, stalled_server;
	bool over;
	size_t passed;     /* the client's bytes */
	struct iobuf held; /* the server's, up to a whole message */
};

static int tcp(int port, bool listening)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((listening ? bind(fd, (struct sockaddr *)&address, sizeof(address))
	               : connect(fd, (struct sockaddr *)&address, sizeof(address))) == 0)
		return fd;
	close(fd);
	return -1;
}

static void hang_up(struct connection *connection, bool reset)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (reset) {
		setsockopt(connection->client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		setsockopt(connection->server, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	connection->over = true;
}

static bool pass(struct connection *connection, int to, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(to, data, len, MSG_NOSIGNAL);

		if (n <= 0) {
			connection->over = true;
			return false;
		}
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void strike(struct connection *connection, const struct meddler_rule *rule)
{
	struct meddler *meddler = connection->meddler;

	pthread_mutex_lock(&meddler->mutex);
	meddler->struck++;
	pthread_mutex_unlock(&meddler->mutex);
	switch (rule->what) {
	case MEDDLER_PAUSE:
		usleep(PAUSE_US);
		break;
	case MEDDLER_STALL:
		*(rule->of_server ? &connection->stalled_server : &connection->stalled_client) =
		    true;
		break;
	case MEDDLER_CLOSE:
	case MEDDLER_RESET:
		hang_up(connection, rule->what == MEDDLER_RESET);
		break;
	case MEDDLER_REPLACE:
	case MEDDLER_END:
		pass(connection, connection->client, rule->bytes, rule->len);
		connection->over |= rule->what == MEDDLER_END;
		break;
	case MEDDLER_FLOOD:
		for (unsigned i = 0; i < rule->times && !connection->over; i++)
			pass(connection, connection->client, rule->bytes, rule->len);
		break;
	case MEDDLER_NOTHING:
		break;
	}
}

/* ---- the client's bytes ---- */

static void pass_pieces(struct connection *connection, const uint8_t *data, size_t len,
                        size_t piece)
{
	for (size_t i = 0; i < len && !connection->over; i += piece ? piece : len) {
		size_t n = piece && piece < len - i ? piece : len - i;

		pass(connection, connection->server, data + i, n);
		if (piece)
			usleep(PAUSE_US);
	}
	connection->passed += len;
}

static void from_client(struct connection *connection, const struct meddler_rule *rule,
                        const uint8_t *data, size_t len)
{
	size_t before = connection->passed;

	if (rule->what != MEDDLER_NOTHING && !rule->of_server && rule->at >= before &&
	    rule->at < before + len) {
		pass_pieces(connection, data, rule->at - before, rule->piece);
		data += rule->at - before;
		len -= rule->at - before;
		strike(connection, rule);
	}
	if (!connection->over && !connection->stalled_client)
		pass_pieces(connection, data, len, rule->piece);
	pthread_mutex_lock(&connection->meddler->mutex);
	connection->meddler->heard = connection->passed;
	pthread_mutex_unlock(&connection->meddler->mutex);
}

/* ---- the server's messages ---- */

static bool fits(struct connection *connection, const struct meddler_rule *rule, uint8_t type)
{
	struct meddler *meddler = connection->meddler;
	unsigned seen;

	if (rule->type && rule->type != type)
		return false;
	pthread_mutex_lock(&meddler->mutex);
	seen = ++meddler->seen;
	pthread_mutex_unlock(&meddler->mutex);
	return seen == rule->nth;
}

static void from_server(struct connection *connection, const struct meddler_rule *rule,
                        const uint8_t *data, size_t len)
{
	struct iobuf *held = &connection->held;
	uint8_t type;
	size_t total;

	if (rule->what == MEDDLER_NOTHING || !rule->of_server) {
		pass(connection, connection->client, iobuf_head(held), iobuf_len(held));
		iobuf_consume(held, iobuf_len(held));
		pass(connection, connection->client, data, len);
		return;
	}
	iobuf_append(held, data, len);
	while (!connection->over && !connection->stalled_server &&
	       wire_frame(iobuf_head(held), iobuf_len(held), &type, &total) == WIRE_FRAME_OK &&
	       iobuf_len(held) >= total) {
		bool struck = fits(connection, rule, type);

		if (struck)
			strike(connection, rule);
		if (!connection->over && !connection->stalled_server &&
		    !(struck && rule->what == MEDDLER_REPLACE))
			pass(connection, connection->client, iobuf_head(held), total);
		iobuf_consume(held, total);
	}
}

/* ---- connections ---- */

static void turn(struct connection *connection)
{
	struct meddler *meddler = connection->meddler;
	struct pollfd fds[2] = {{.fd = connection->client, .events = POLLIN},
	                        {.fd = connection->server, .events = POLLIN}};
	struct meddler_rule rule;
	uint8_t data[16384];

	if (connection->stalled_client) /* its end is noticed all the same */
		fds[0].events = 0;
	if (connection->stalled_server)
		fds[1].events = 0;
	poll(fds, 2, POLL_MS);
	pthread_mutex_lock(&meddler->mutex);
	rule = meddler->rule;
	connection->over |= meddler->ending;
	pthread_mutex_unlock(&meddler->mutex);
	for (int i = 0; i < 2 && !connection->over; i++) {
		ssize_t n = 0;

		if (fds[i].revents & POLLIN)
			n = recv(fds[i].fd, data, sizeof(data), MSG_DONTWAIT);
		else if (!(fds[i].revents & (POLLHUP | POLLERR)))
			continue;
		if (n > 0 && i == 0)
			from_client(connection, &rule, data, (size_t)n);
		else if (n > 0)
			from_server(connection, &rule, data, (size_t)n);
		else
			connection->over = true;
	}
}

static void *serve(void *argument)
{
	struct connection *connection = argument;
	struct meddler *meddler = connection->meddler;

	while (!connection->over)
		turn(connection);
	close(connection->client);
	close(connection->server);
	iobuf_fini(&connection->held);
	pthread_mutex_lock(&meddler->mutex);
	meddler->open--;
	pthread_mutex_unlock(&meddler->mutex);
	free(connection);
	return NULL;
}

static void begin(struct meddler *meddler, int client)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	pthread_t thread;
	int on = 1;

	connection->meddler = meddler;
	connection->client = client;
	connection->server = tcp(meddler->target, false);
	iobuf_init(&connection->held);
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connection->server < 0) {
		close(client);
		free(connection);
		return;
	}
	pthread_mutex_lock(&meddler->mutex);
	meddler->open++;
	meddler->accepted++;
	pthread_mutex_unlock(&meddler->mutex);
	pthread_create(&thread, NULL, serve, connection);
	pthread_detach(thread);
}

static bool is_ending(struct meddler *meddler)
{
	bool ending;

	pthread_mutex_lock(&meddler->mutex);
	ending = meddler->ending;
	pthread_mutex_unlock(&meddler->mutex);
	return ending;
}

static void *accept_all(void *argument)
{
	struct meddler *meddler = argument;
	struct pollfd pollfd = {.fd = meddler->listener, .events = POLLIN};

	while (!is_ending(meddler)) {
		int fd;

		if (poll(&pollfd, 1, POLL_MS) > 0 &&
		    (fd = accept4(meddler->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			begin(meddler, fd);
	}
	return NULL;
}

void meddler_start(struct meddler *meddler, int target)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	memset(meddler, 0, sizeof(*meddler));
	pthread_mutex_init(&meddler->mutex, NULL);
	meddler->target = target;
	meddler->listener = tcp(0, true);
	cr_assert_geq(meddler->listener, 0);
	cr_assert_eq(listen(meddler->listener, 128), 0);
	cr_assert_eq(getsockname(meddler->listener, (struct sockaddr *)&address, &len), 0);
	meddler->port = ntohs(address.sin_port);
	cr_assert_eq(pthread_create(&meddler->thread, NULL, accept_all, meddler), 0);
}

static unsigned get(struct meddler *meddler, const unsigned *number)
{
	unsigned value;

	pthread_mutex_lock(&meddler->mutex);
	value = *number;
	pthread_mutex_unlock(&meddler->mutex);
	return value;
}

void meddler_stop(struct meddler *meddler)
{
	pthread_mutex_lock(&meddler->mutex);
	meddler->ending = true;
	pthread_mutex_unlock(&meddler->mutex);
	pthread_join(meddler->thread, NULL);
	for (int i = 0; i < 1000 && get(meddler, &meddler->open) > 0; i++)
		usleep(10 * 1000);
	cr_assert_eq(get(meddler, &meddler->open), 0);
	close(meddler->listener);
}

void meddler_set(struct meddler *meddler, const struct meddler_rule *rule)
{
	pthread_mutex_lock(&meddler->mutex);
	meddler->rule = *rule;
	meddler->seen = 0;
	meddler->struck = 0;
	pthread_mutex_unlock(&meddler->mutex);
}

unsigned meddler_struck(struct meddler *meddler)
{
	return get(meddler, &meddler->struck);
}

unsigned meddler_accepted(struct meddler *meddler)
{
	return get(meddler, &meddler->accepted);
}

size_t meddler_heard(struct meddler *meddler)
{
	size_t heard;

	pthread_mutex_lock(&meddler->mutex);
	heard = meddler->heard;
	pthread_mutex_unlock(&meddler->mutex);
	return heard;
}
