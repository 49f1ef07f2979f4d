/*
 * Forwarder: see forwarder.h. One thread for all connections; a connection has one
 * buffer per direction and is read again when that is empty.
 */
#include "t/faults/forwarder.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 256
#define BUFFER 16384
#define POLL_MS 10

struct way {
	uint8_t bytes[BUFFER];
	size_t at, end;
	bool over; /* the sender has said so */
};

struct connection {
	int fds[2];
	struct way ways[2]; /* from fds[0] to fds[1], and back */
};

static int tcp(int port, bool listening)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if ((listening ? bind(fd, (struct sockaddr *)&address, sizeof(address))
	               : connect(fd, (struct sockaddr *)&address, sizeof(address))) == 0)
		return fd;
	close(fd);
	return -1;
}

static void set_up(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void reset(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static void end(struct connection *connection)
{
	reset(connection->fds[0]);
	reset(connection->fds[1]);
	connection->fds[0] = -1;
}

/* False: the connection is over. */
static bool pass(struct connection *connection, unsigned direction)
{
	struct way *way = &connection->ways[direction];
	ssize_t n;

	if (way->at == way->end && !way->over) {
		n = recv(connection->fds[direction], way->bytes, sizeof(way->bytes), 0);
		if (n < 0)
			return errno == EAGAIN;
		way->at = 0;
		way->end = (size_t)n;
		way->over = n == 0;
		if (way->over)
			shutdown(connection->fds[!direction], SHUT_WR);
	}
	if (way->at < way->end) {
		n = send(connection->fds[!direction], way->bytes + way->at, way->end - way->at,
		         MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN;
		way->at += (size_t)n;
	}
	return true;
}

static void serve(struct connection *connection)
{
	bool going = pass(connection, 0) && pass(connection, 1);

	if (going && connection->ways[0].over && connection->ways[1].over) {
		close(connection->fds[0]);
		close(connection->fds[1]);
		connection->fds[0] = -1;
	} else if (!going) {
		end(connection);
	}
}

static void accept_one(struct forwarder *forwarder, struct connection *connections)
{
	int client = accept4(forwarder->listener, NULL, NULL, SOCK_CLOEXEC), server;

	if (client < 0)
		return;
	server = forwarder->state == FORWARDER_CUT ? -1 : tcp(forwarder->target, false);
	for (unsigned i = 0; i < CONNECTIONS && server >= 0; i++) {
		struct connection *connection = &connections[i];

		if (connection->fds[0] >= 0)
			continue;
		connection->fds[0] = client;
		connection->fds[1] = server;
		set_up(client);
		set_up(server);
		for (unsigned j = 0; j < 2; j++)
			connection->ways[j].at = connection->ways[j].end = 0;
		connection->ways[0].over = connection->ways[1].over = false;
		return;
	}
	reset(client);
	if (server >= 0)
		close(server);
}

static unsigned watch(struct forwarder *forwarder, struct connection *connections,
                      struct pollfd *polls, unsigned *who)
{
	unsigned n = 1;

	polls[0] = (struct pollfd){.fd = forwarder->listener, .events = POLLIN};
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &connections[i];

		if (connection->fds[0] < 0)
			continue;
		for (unsigned j = 0; j < 2; j++) {
			const struct way *in = &connection->ways[j], *out = &connection->ways[!j];
			bool full = in->at < in->end, owes = out->at < out->end;

			polls[n] =
			    (struct pollfd){.fd = connection->fds[j],
			                    .events = (short)((full || in->over ? 0 : POLLIN) |
			                                      (owes ? POLLOUT : 0))};
			if (polls[n].events == 0)
				polls[n].fd = -1;
			who[n++] = i;
		}
	}
	return n;
}

static void *run(void *argument)
{
	static _Thread_local struct connection connections[CONNECTIONS];
	struct forwarder *forwarder = argument;
	struct pollfd polls[1 + 2 * CONNECTIONS];
	unsigned who[1 + 2 * CONNECTIONS];

	for (unsigned i = 0; i < CONNECTIONS; i++)
		connections[i].fds[0] = -1;
	while (forwarder->state != FORWARDER_END) {
		unsigned n;

		if (forwarder->state == FORWARDER_HOLE) {
			usleep(POLL_MS * 1000);
			continue;
		}
		n = watch(forwarder, connections, polls, who);
		poll(polls, n, POLL_MS);
		for (unsigned i = 1; i < n; i++) {
			if (polls[i].revents && connections[who[i]].fds[0] >= 0)
				serve(&connections[who[i]]);
		}
		for (unsigned i = 0; i < CONNECTIONS && forwarder->state == FORWARDER_CUT; i++) {
			if (connections[i].fds[0] >= 0)
				end(&connections[i]);
		}
		if (polls[0].revents)
			accept_one(forwarder, connections);
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fds[0] >= 0)
			end(&connections[i]);
	}
	return NULL;
}

void forwarder_start(struct forwarder *forwarder, int target)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	forwarder->target = target;
	forwarder->state = FORWARDER_OPEN;
	forwarder->listener = tcp(0, true);
	assert(forwarder->listener >= 0);
	getsockname(forwarder->listener, (struct sockaddr *)&address, &len);
	forwarder->port = ntohs(address.sin_port);
	fcntl(forwarder->listener, F_SETFL, O_NONBLOCK);
	assert(listen(forwarder->listener, 64) == 0);
	assert(pthread_create(&forwarder->thread, NULL, run, forwarder) == 0);
}

void forwarder_set(struct forwarder *forwarder, enum forwarder_state state)
{
	forwarder->state = state;
}

void forwarder_stop(struct forwarder *forwarder)
{
	forwarder->state = FORWARDER_END;
	pthread_join(forwarder->thread, NULL);
	close(forwarder->listener);
}
