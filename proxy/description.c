/*
 * Description: see description.h. A hidden Parse, Describe, Close of the plan's
 * describe_sql under a name of our own, so that the client's unnamed statement
 * stays as it is.
 */
#include "proxy/description.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "proxy/hidden.h"
#include "proxy/session.h"

#define SAVEPOINT "pgtopk_description"
#define FIRST_USER_OID 16384 /* FirstNormalObjectId: not built in from here on */
#define FLOAT8_OID 701
#define TEXT_OID 25
#define JSON_OID 114

struct cached {
	uint8_t *key; /* plan's address, then the declared types */
	size_t key_len;
	struct description *description;
	UT_hash_handle hh; /* in the order of use */
};

struct descriptions {
	struct cached *by_key;
	unsigned limit;
};

static void *zeroed(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	if (!memory)
		abort();
	return memory;
}

struct description *description_ref(struct description *description)
{
	description->refs++;
	return description;
}

void description_unref(struct description *description)
{
	if (!description || --description->refs > 0)
		return;
	plan_unref(description->plan);
	description_unref(description->explained);
	free(description->parameter_types);
	free(description->result_types);
	free(description->fields);
	free(description->keys);
	free(description);
}

static void put_explain_field(struct iobuf *out, bool json)
{
	wire_put_string(out, "QUERY PLAN");
	wire_put_u32(out, 0);
	wire_put_u16(out, 0);
	wire_put_u32(out, json ? JSON_OID : TEXT_OID);
	wire_put_u16(out, UINT16_MAX); /* -1: of any length */
	wire_put_u32(out, UINT32_MAX);
	wire_put_u16(out, 0);
}

struct description *description_explain(struct description *of, bool json)
{
	struct description *description = zeroed(sizeof(*description));
	size_t types = of->nparameters * sizeof(*of->parameter_types);
	struct iobuf field;

	iobuf_init(&field);
	put_explain_field(&field, json);
	description->refs = 1;
	description->plan = plan_ref(of->plan);
	description->explained = description_ref(of);
	description->refusal = of->refusal;
	description->nparameters = of->nparameters;
	description->parameter_types = zeroed(types);
	if (types)
		memcpy(description->parameter_types, of->parameter_types, types);
	description->visible = 1;
	description->fields_len = iobuf_len(&field);
	description->fields = zeroed(description->fields_len);
	memcpy(description->fields, iobuf_head(&field), description->fields_len);
	iobuf_fini(&field);
	return description;
}

void description_put_complete(const struct description *description, struct iobuf *out,
                              uint64_t rows)
{
	char tag[32];

	snprintf(tag, sizeof(tag), "SELECT %" PRIu64, rows);
	wire_put_command_complete(out, description->explained ? "EXPLAIN" : tag);
}

bool description_same(const struct description *a, const struct description *b)
{
	return a == b || (a->visible == b->visible && a->fields_len == b->fields_len &&
	                  a->nparameters == b->nparameters &&
	                  memcmp(a->fields, b->fields, a->fields_len) == 0 &&
	                  memcmp(a->parameter_types, b->parameter_types,
	                         a->nparameters * sizeof(*a->parameter_types)) == 0);
}

/* Copies one field of RowDescription with another format code in its last two bytes. */
static size_t put_field(struct iobuf *out, const uint8_t *field, uint16_t format)
{
	size_t name = strlen((const char *)field) + 1;
	size_t rest = 4 + 2 + 4 + 2 + 4;

	wire_put_bytes(out, field, name + rest);
	wire_put_u16(out, format);
	return name + rest + 2;
}

void description_put_row_description(const struct description *description, struct iobuf *out,
                                     const uint8_t *formats, unsigned nformats)
{
	size_t mark = wire_begin(out, WIRE_BE_RowDescription);
	const uint8_t *field = description->fields;

	wire_put_u16(out, (uint16_t)description->visible);
	for (unsigned i = 0; i < description->visible; i++)
		field += put_field(out, field, wire_format(formats, nformats, i));
	wire_end(out, mark);
}

void description_put_parameters(const struct description *description, struct iobuf *out,
                                unsigned visible)
{
	size_t mark = wire_begin(out, WIRE_BE_ParameterDescription);

	wire_put_u16(out, (uint16_t)visible);
	for (unsigned i = 0; i < visible; i++)
		wire_put_u32(out, description->parameter_types[i]);
	wire_end(out, mark);
}

/* ---- the cache ---- */

struct descriptions *descriptions_new(unsigned limit)
{
	struct descriptions *descriptions = zeroed(sizeof(*descriptions));

	descriptions->limit = limit;
	return descriptions;
}

static void evict(struct descriptions *descriptions, struct cached *cached)
{
	HASH_DEL(descriptions->by_key, cached);
	description_unref(cached->description);
	free(cached->key);
	free(cached);
}

void descriptions_free(struct descriptions *descriptions)
{
	struct cached *cached, *next;

	if (!descriptions)
		return;
	HASH_ITER (hh, descriptions->by_key, cached, next)
		evict(descriptions, cached);
	free(descriptions);
}

static uint8_t *make_key(const struct plan *plan, unsigned ntypes, const uint32_t *types,
                         size_t *len)
{
	uint8_t *key;

	*len = sizeof(plan) + ntypes * sizeof(*types);
	key = zeroed(*len);
	memcpy(key, &plan, sizeof(plan));
	if (ntypes)
		memcpy(key + sizeof(plan), types, ntypes * sizeof(*types));
	return key;
}

struct description *descriptions_find(struct descriptions *descriptions, const struct plan *plan,
                                      unsigned ntypes, const uint32_t *types)
{
	struct cached *cached;
	size_t len;
	uint8_t *key = make_key(plan, ntypes, types, &len);

	HASH_FIND(hh, descriptions->by_key, key, len, cached);
	free(key);
	if (!cached)
		return NULL;
	HASH_DEL(descriptions->by_key, cached); /* to the end: most recently used */
	HASH_ADD_KEYPTR(hh, descriptions->by_key, cached->key, cached->key_len, cached);
	return cached->description;
}

static void store(struct descriptions *descriptions, struct description *description,
                  unsigned ntypes, const uint32_t *types)
{
	struct cached *cached = zeroed(sizeof(*cached));

	if (HASH_COUNT(descriptions->by_key) >= descriptions->limit)
		evict(descriptions, descriptions->by_key);
	cached->key = make_key(description->plan, ntypes, types, &cached->key_len);
	cached->description = description;
	HASH_ADD_KEYPTR(hh, descriptions->by_key, cached->key, cached->key_len, cached);
}

/* ---- asking ---- */

/* What the route's map knows of types that are not built in. */
static bool is_known_type(const struct shardmap *map, uint32_t oid)
{
	/* record, reg* and aclitem, and arrays of them: names that every node resolves for itself */
	static const uint32_t unsafe[] = {2249, 24,   2202, 2203, 2204, 2205, 2206, 4096, 4089,
	                                  3734, 3769, 4191, 1033, 2287, 1008, 2207, 2208, 2209,
	                                  2210, 2211, 4097, 4090, 3735, 3770, 4192, 1034};

	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		if (oid == unsafe[i])
			return false;
	if (oid < FIRST_USER_OID)
		return true;
	return shardmap_vector_type(map, oid) != SHARDMAP_TYPE_OTHER;
}

static void read_parameters(struct session *session, struct description *description,
                            const uint8_t *body, size_t len)
{
	const uint8_t *types;
	int count = wire_read_parameter_description(body, len, &types);

	if (count < 0) {
		description->refusal = REFUSAL_description;
		return;
	}
	description->nparameters = (unsigned)count;
	description->parameter_types = zeroed((size_t)count * sizeof(uint32_t));
	for (int i = 0; i < count; i++) {
		description->parameter_types[i] = wire_u32(types + 4 * i);
		if (!is_known_type(session->route.map, description->parameter_types[i]))
			description->refusal = REFUSAL_parameter_type;
	}
}

static void read_key(struct description *description, unsigned i, uint32_t type_oid)
{
	const struct plan_key *plan_key = &description->plan->keys[i];
	struct order_key *key = &description->keys[i];

	key->descending = plan_key->descending;
	key->nulls_first = plan_key->nulls_first;
	if (i == 0 && type_oid != FLOAT8_OID)
		description->refusal = REFUSAL_operator;
	else if (!order_type_from_oid(type_oid, &key->type))
		description->refusal = REFUSAL_sort_key_type;
}

static void read_fields(struct session *session, struct description *description,
                        const uint8_t *body, size_t len)
{
	struct wire_reader reader;
	struct wire_field field;
	int count = wire_read_row_description(body, len, &reader);
	const uint8_t *first = reader.at;

	if (count < (int)description->plan->nkeys) {
		description->refusal = REFUSAL_description;
		return;
	}
	description->visible = (unsigned)count - description->plan->nkeys;
	description->keys = zeroed(description->plan->nkeys * sizeof(*description->keys));
	description->result_types = zeroed((size_t)count * sizeof(*description->result_types));
	for (unsigned i = 0; i < (unsigned)count; i++) {
		if (!wire_read_field(&reader, &field)) {
			description->refusal = REFUSAL_description;
			return;
		}
		description->result_types[i] = field.type_oid;
		if (i >= description->visible) {
			read_key(description, i - description->visible, field.type_oid);
			continue;
		}
		description->fields_len = (size_t)(reader.at - first);
		if (!is_known_type(session->route.map, field.type_oid))
			description->refusal = REFUSAL_type;
	}
	description->fields = zeroed(description->fields_len);
	memcpy(description->fields, first, description->fields_len);
}

static void on_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	struct description *description = session->route.asking;

	if (type == WIRE_BE_ParameterDescription && !description->parameter_types)
		read_parameters(session, description, body, len);
	else if (type == WIRE_BE_RowDescription && !description->keys)
		read_fields(session, description, body, len);
	else if (type == WIRE_BE_ParameterDescription || type == WIRE_BE_RowDescription ||
	         type == WIRE_BE_ErrorResponse) /* one of each is an answer */
		description->refusal = REFUSAL_description;
}

/* Whoever waits for a locked table is the client's own statement, on the coordinator: its
 * statement_timeout and lock_timeout would begin anew there. */
static const char impatient_sql[] =
    "SELECT pg_catalog.set_config('lock_timeout'::pg_catalog.text, '100'::pg_catalog.text, true)";

static void put_command(struct iobuf *out, const char *sql)
{
	hidden_put(out, sql, strlen(sql), NULL);
}

/* Of what was done within a block nothing is left, our lock_timeout neither. */
static void put_end(struct iobuf *out)
{
	put_command(out, "ROLLBACK TO SAVEPOINT " SAVEPOINT);
	put_command(out, "RELEASE SAVEPOINT " SAVEPOINT);
}

static void finish(struct session *session)
{
	struct description *description = session->route.asking;
	bool ok = description->fields && description->refusal != REFUSAL_description;

	session->route.asking = NULL;
	if (ok)
		store(session->proxy->descriptions, description, session->route.ntypes,
		      session->route.types);
	else
		description_unref(description);
	session->route.described_fn(session, ok);
}

static void ignore_message(struct session *session, uint8_t type, const uint8_t *body, size_t len)
{
	(void)session;
	(void)type;
	(void)body;
	(void)len;
}

/* An error must not fail the client's transaction block: its own statement has not begun. */
static void on_ready(struct session *session)
{
	static const struct session_inner inner = {.on_message = ignore_message,
	                                           .on_ready = finish};
	struct iobuf *out = &session->coordinator.out;

	if (session->status != 'E') {
		finish(session);
		return;
	}
	put_end(out);
	wire_put_bare(out, WIRE_FE_Sync);
	session_start_inner(session, &inner);
}

void description_ask(struct session *session, struct plan *plan, unsigned ntypes,
                     const uint32_t *types, void (*done)(struct session *session, bool ok))
{
	static const struct session_inner inner = {.on_message = on_message, .on_ready = on_ready};
	struct description *description = zeroed(sizeof(*description));
	struct iobuf *out = &session->coordinator.out;

	assert(!session->route.asking);
	description->refs = 1;
	description->plan = plan_ref(plan);
	session->route.asking = description;
	session->route.described_fn = done;
	if (session->status == 'T')
		put_command(out, "SAVEPOINT " SAVEPOINT);
	put_command(out, impatient_sql);
	hidden_put_clear(out);
	wire_put_parse(out, HIDDEN_NAME, plan->describe_sql, strlen(plan->describe_sql), ntypes,
	               types);
	wire_put_describe(out, 'S', HIDDEN_NAME);
	wire_put_close(out, 'S', HIDDEN_NAME);
	if (session->status == 'T')
		put_end(out);
	wire_put_bare(out, WIRE_FE_Sync);
	session_start_inner(session, &inner);
}
