/*
 * Server: see server.h. Here: the login. Which one it asks for follows from the user's
 * name: "md5", "clear", "scram" and ANSWERS_USER (SCRAM), "refused", any other is trusted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/scram.h"
#include "t/fuzz/server_state.h"

static void put_authentication(struct server *server, uint32_t code, const void *data, size_t len)
{
	size_t mark = wire_begin(server->out, WIRE_BE_Authentication);

	wire_put_u32(server->out, code);
	wire_put_bytes(server->out, data, len);
	wire_end(server->out, mark);
	server_flush(server);
}

static void welcome(struct server *server)
{
	size_t mark;

	put_authentication(server, 0, NULL, 0);
	mark = wire_begin(server->out, WIRE_BE_ParameterStatus);
	wire_put_string(server->out, "client_encoding");
	wire_put_string(server->out, "UTF8");
	wire_end(server->out, mark);
	mark = wire_begin(server->out, WIRE_BE_BackendKeyData);
	wire_put_u32(server->out, SERVER_PID);
	wire_put_bytes(server->out, SERVER_SECRET, 4);
	wire_end(server->out, mark);
	wire_put_ready_for_query(server->out, 'I');
	server_flush(server);
	server->ready = true;
}

static void ask_for_password(struct server *server, const char *user)
{
	static const struct scram_binding unbound;
	struct scram_verifier verifier;
	struct iobuf list;

	if (strcmp(user, "md5") == 0) {
		put_authentication(server, 5, "salt", 4);
	} else if (strcmp(user, "clear") == 0) {
		put_authentication(server, 3, NULL, 0);
	} else if (strcmp(user, "scram") == 0 || strcmp(user, ANSWERS_USER) == 0) {
		if (!scram_verifier_parse(ANSWERS_VERIFIER, &verifier))
			abort();
		iobuf_init(&list);
		server->scram = scram_server_new(&verifier, &unbound);
		scram_server_mechanisms(server->scram, &list);
		put_authentication(server, 10, iobuf_head(&list), iobuf_len(&list));
		iobuf_fini(&list);
	} else {
		welcome(server);
	}
}

bool server_startup(struct server *server, uint32_t code, const uint8_t *body, size_t len)
{
	struct wire_reader reader;
	const char *name, *value, *user = "";

	server->started = true;
	if (WIRE_PROTOCOL_MAJOR(code) != 3) { /* a CancelRequest, or nonsense */
		if (code != WIRE_CODE_CANCEL)
			server_error(server, "FATAL", "0A000");
		return false;
	}
	wire_read_init(&reader, body, len);
	while ((name = wire_read_string(&reader))[0]) {
		value = wire_read_string(&reader);
		if (strcmp(name, "user") == 0)
			user = value;
	}
	if (!wire_read_done(&reader) || !user[0] || strcmp(user, "refused") == 0) {
		server_error(server, "FATAL", "28000");
		return false;
	}
	snprintf(server->user, sizeof(server->user), "%s", user);
	ask_for_password(server, user);
	return true;
}

bool server_password(struct server *server, uint8_t type, const uint8_t *body, size_t len)
{
	enum scram_status status = SCRAM_BROKEN;
	struct scram_failure failure;
	struct iobuf answer;
	bool first = server->messages++ == 0;

	if (type == WIRE_FE_Password && !server->scram) {
		welcome(server);
		return true;
	}
	iobuf_init(&answer);
	if (type == WIRE_FE_Password)
		status = first ? scram_server_first(server->scram, body, len, &answer, &failure)
		               : scram_server_final(server->scram, body, len, &answer, &failure);
	if (status == SCRAM_OK)
		put_authentication(server, first ? 11 : 12, iobuf_head(&answer),
		                   iobuf_len(&answer));
	else
		server_error(server, "FATAL", "28P01");
	if (status == SCRAM_OK && !first)
		welcome(server);
	iobuf_fini(&answer);
	return status == SCRAM_OK;
}
