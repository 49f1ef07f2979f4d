/*
 * Delivery: see delivery.h.
 */
#include "proxy/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/stream.h"
#include "proxy/tls.h"

struct delivery {
	struct loop *loop;
	struct iobuf message;
	struct pq_attempt *attempt; /* until dialled */
	struct pq_link *link;
	struct tls *tls;
	struct stream stream;
	struct loop_timer *timer;
	void (*done)(void *owner);
	void *owner;
};

static void end(struct delivery *delivery)
{
	void (*done)(void *) = delivery->done;
	void *owner = delivery->owner;

	delivery_free(delivery);
	done(owner);
}

static void on_timeout(void *owner)
{
	end(owner);
}

static void on_input(void *owner)
{
	struct delivery *delivery = owner;

	/* a server that cannot fork says so; nothing else is ever said here */
	iobuf_consume(&delivery->stream.in, iobuf_len(&delivery->stream.in));
}

static void on_closed(void *owner, int error)
{
	(void)error;
	end(owner);
}

static const struct stream_ops ops = {.on_input = on_input, .on_closed = on_closed};

static void on_dialled(void *owner, struct pq_link *link, const char *error)
{
	struct delivery *delivery = owner;

	(void)error; /* a server that is gone has nothing left to cancel */
	delivery->attempt = NULL;
	if (!link) {
		end(delivery);
		return;
	}
	delivery->link = link;
	if (pq_link_ssl(link))
		delivery->tls = tls_wrap(pq_link_ssl(link));
	stream_open(&delivery->stream, delivery->loop, pq_link_fd(link), false, delivery->tls, &ops,
	            delivery);
	stream_write(&delivery->stream, iobuf_head(&delivery->message),
	             iobuf_len(&delivery->message));
}

struct delivery *delivery_start(struct loop *loop, const struct pq_target *target,
                                const uint8_t *message, size_t len, uint64_t timeout_ms,
                                void (*done)(void *owner), void *owner)
{
	struct delivery *delivery = calloc(1, sizeof(*delivery));

	if (!delivery)
		abort();
	delivery->loop = loop;
	delivery->done = done;
	delivery->owner = owner;
	delivery->stream.fd = -1;
	iobuf_init(&delivery->message);
	iobuf_append(&delivery->message, message, len);
	delivery->timer = loop_timer_new(loop, on_timeout, delivery);
	loop_timer_start(delivery->timer, timeout_ms);
	delivery->attempt = pq_dial(loop, target, timeout_ms, on_dialled, delivery);
	return delivery;
}

static void free_delivery(void *delivery)
{
	free(delivery);
}

void delivery_free(struct delivery *delivery)
{
	if (!delivery)
		return;
	pq_attempt_free(delivery->attempt);
	delivery->attempt = NULL;
	stream_close(&delivery->stream);
	tls_free(delivery->tls);
	pq_link_free(delivery->link);
	loop_timer_free(delivery->timer);
	iobuf_fini(&delivery->message);
	loop_defer(delivery->loop, free_delivery, delivery); /* its stream may be calling us */
}

void delivery_target(struct pq_target *target, const char *conninfo, const struct pq_peer *peer,
                     const char **keywords, const char **values)
{
	static const char *const names[DELIVERY_KEYWORDS] = {"host", "hostaddr", "port", NULL};

	memcpy(keywords, names, sizeof(names));
	values[0] = peer->host;
	values[1] = peer->hostaddr;
	values[2] = peer->port;
	values[3] = NULL;
	*target = (struct pq_target){.conninfo = conninfo, .keywords = keywords, .values = values};
}
