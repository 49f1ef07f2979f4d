/*
 * SQL: libpg_query speaks protobuf at both ends. Trees are unpacked into an
 * arena by giving protobuf-c an allocator that never frees. Copying, comparing
 * and walking go by protobuf-c's descriptors, so that they need not know one
 * of the two hundred node types and fit any version of the library.
 */
#include "parser/sql.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pg_query.h>

/* Deepest tree that is let through, in words, brackets and operators. Measured:
 * 8 MB of stack hold 2,000 nested casts, the most expensive nodes. */
#define SQL_DEPTH_MAX 1000

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (unsigned char)c >= 0x80;
}

static bool is_operator(char c)
{
	return c != '\0' && strchr("+-*/<>=~!@#%^&|`?:", c) != NULL;
}

/* The sign of a number in a list or of an exponent: folded into the constant. */
static bool is_sign(const char *text, size_t len, size_t at)
{
	char before = at == 0 ? ' ' : text[at - 1];
	bool number = at + 1 < len && (is_digit(text[at + 1]) || text[at + 1] == '.');

	if (text[at] != '-' || !number)
		return false;
	if (before == ' ' && at > 1)
		before = text[at - 2];
	if (before == ',' || before == '[' || before == '(')
		return true;
	return (before == 'e' || before == 'E') && at > 1 &&
	       (is_digit(text[at - 2]) || text[at - 2] == '.');
}

/* Are quotes all there is to know about strings in this text? $1 is allowed: no
 * dollar quote begins with a digit. */
static bool has_plain_strings(const char *text, size_t len)
{
	const char *end = text + len;

	for (const char *at = text; (at = memchr(at, '$', (size_t)(end - at))) != NULL; at++) {
		if (at + 1 == end || !is_digit(at[1]))
			return false;
	}
	return memchr(text, '\\', len) == NULL && memmem(text, len, "--", 2) == NULL &&
	       memmem(text, len, "/*", 2) == NULL;
}

/* Every level of a tree costs at least one word, bracket or operator, so their
 * number bounds the depth. Where strings can be told for sure, they are free. */
bool sql_may_be_deep(const char *text, size_t len)
{
	bool plain = has_plain_strings(text, len);
	size_t cost = 0;

	for (size_t at = 0; at < len; at++) {
		char c = text[at];
		char before = at == 0 ? ' ' : text[at - 1];

		if (plain && (c == '\'' || c == '"')) {
			const char *close = memchr(text + at + 1, c, len - at - 1);

			if (close == NULL)
				return cost > SQL_DEPTH_MAX; /* does not parse anyway */
			cost += c == '"';
			at = (size_t)(close - text);
		} else if (is_letter(c)) {
			cost += !is_letter(before) && !is_digit(before);
		} else if (c == '(' || c == '[') {
			cost++;
		} else if (is_operator(c)) {
			cost += !is_operator(before) && !is_sign(text, len, at);
		}
	}
	return cost > SQL_DEPTH_MAX;
}

/* ---- in and out ---- */

static void *allocate(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void leave(void *arena, void *memory)
{
	(void)arena;
	(void)memory;
}

static PgQuery__ParseResult *unpack(const void *data, size_t len, struct arena *arena)
{
	ProtobufCAllocator allocator = {allocate, leave, arena};

	return pg_query__parse_result__unpack(&allocator, len, data);
}

PgQuery__ParseResult *sql_parse(const char *text, struct arena *arena)
{
	PgQueryProtobufParseResult result;
	PgQuery__ParseResult *tree = NULL;

	result = pg_query_parse_protobuf(text);
	if (result.error == NULL)
		tree = unpack(result.parse_tree.data, result.parse_tree.len, arena);
	pg_query_free_protobuf_parse_result(result);
	return tree;
}

static PgQueryProtobuf pack(const PgQuery__ParseResult *tree, struct arena *arena)
{
	PgQueryProtobuf packed;

	packed.len = pg_query__parse_result__get_packed_size(tree);
	packed.data = arena_alloc(arena, packed.len + 1);
	pg_query__parse_result__pack(tree, (uint8_t *)packed.data);
	return packed;
}

char *sql_deparse(const PgQuery__ParseResult *tree, struct arena *arena)
{
	PgQueryDeparseResult result = pg_query_deparse_protobuf(pack(tree, arena));
	char *text = NULL;

	if (result.error == NULL && result.query != NULL)
		text = arena_strdup(arena, result.query);
	pg_query_free_deparse_result(result);
	return text;
}

PgQuery__ParseResult *sql_copy(const PgQuery__ParseResult *tree, struct arena *arena)
{
	PgQueryProtobuf packed = pack(tree, arena);
	PgQuery__ParseResult *copy = unpack(packed.data, packed.len, arena);

	assert(copy != NULL);
	return copy;
}

/* ---- by descriptor ---- */

#define MEMBER(message, offset, type)                                                              \
	(*(type const *)(const void *)((const char *)(message) + (offset)))

/* The union's only member; every member of PgQuery__Node's is a message. */
const ProtobufCMessage *sql_node_message(const PgQuery__Node *node)
{
	if (node == NULL || node->node_case == PG_QUERY__NODE__NODE__NOT_SET)
		return NULL;
	return &node->alias->base;
}

static const ProtobufCMessage *unwrap(const ProtobufCMessage *message)
{
	while (message != NULL && SQL_IS(message, node))
		message = sql_node_message((const PgQuery__Node *)(const void *)message);
	return message;
}

static bool is_location(const ProtobufCFieldDescriptor *field)
{
	return strcmp(field->name, "location") == 0 || strcmp(field->name, "stmt_location") == 0 ||
	       strcmp(field->name, "stmt_len") == 0;
}

/* Not the active member of its oneof. */
static bool is_absent(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
	       MEMBER(message, field->quantifier_offset, uint32_t) != field->id;
}

static bool equal_values(const ProtobufCFieldDescriptor *field, const void *a, const void *b)
{
	const char *x, *y;

	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return sql_equal(MEMBER(a, 0, ProtobufCMessage *),
		                 MEMBER(b, 0, ProtobufCMessage *));
	case PROTOBUF_C_TYPE_STRING:
		x = MEMBER(a, 0, char *);
		y = MEMBER(b, 0, char *);
		return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BOOL:
		return memcmp(a, b, sizeof(int32_t)) == 0;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return memcmp(a, b, sizeof(int64_t)) == 0;
	default:
		return false; /* no such field today: what we do not know is not equal */
	}
}

/* Size of one element of a repeated field; 0 for types that do not occur. */
static size_t element_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(int32_t);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(int64_t);
	default:
		return 0;
	}
}

static bool equal_fields(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *a,
                         const ProtobufCMessage *b)
{
	const char *x = (const char *)a + field->offset;
	const char *y = (const char *)b + field->offset;
	size_t size = element_size(field);
	size_t count;

	if (is_location(field))
		return true;
	if (is_absent(a, field) || is_absent(b, field))
		return is_absent(a, field) && is_absent(b, field);
	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return equal_values(field, x, y);
	count = MEMBER(a, field->quantifier_offset, size_t);
	if (count != MEMBER(b, field->quantifier_offset, size_t) || size == 0)
		return false;
	x = MEMBER(x, 0, char *);
	y = MEMBER(y, 0, char *);
	for (size_t i = 0; i < count; i++) {
		if (!equal_values(field, x + i * size, y + i * size))
			return false;
	}
	return true;
}

bool sql_equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	a = unwrap(a);
	b = unwrap(b);
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->descriptor != b->descriptor)
		return false;
	if (a->n_unknown_fields != 0 || b->n_unknown_fields != 0)
		return false;
	for (unsigned i = 0; i < a->descriptor->n_fields; i++) {
		if (!equal_fields(&a->descriptor->fields[i], a, b))
			return false;
	}
	return true;
}

bool sql_equal_nodes(const PgQuery__Node *a, const PgQuery__Node *b)
{
	return sql_equal(sql_node_message(a), sql_node_message(b));
}

static void visit_below(const ProtobufCMessage *message, const ProtobufCMessage *parent,
                        sql_visit_fn *visit, void *context)
{
	message = unwrap(message);
	if (message == NULL)
		return;
	visit(context, message, parent);
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		ProtobufCMessage *const *items;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE || is_absent(message, field))
			continue;
		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			visit_below(MEMBER(message, field->offset, ProtobufCMessage *), message,
			            visit, context);
			continue;
		}
		items = MEMBER(message, field->offset, ProtobufCMessage **);
		for (size_t j = 0; j < MEMBER(message, field->quantifier_offset, size_t); j++)
			visit_below(items[j], message, visit, context);
	}
}

void sql_visit(const ProtobufCMessage *root, sql_visit_fn *visit, void *context)
{
	visit_below(root, NULL, visit, context);
}

/* ---- nodes ---- */

const char *sql_string(const PgQuery__Node *node)
{
	return SQL_NODE_IS(node, STRING) ? node->string->sval : NULL;
}

/* node->field = a new message of that type */
#define NEW_NODE(arena, node, CASE, field, INIT)                                                   \
	do {                                                                                       \
		(node) = arena_alloc(arena, sizeof(*(node)));                                      \
		pg_query__node__init(node);                                                        \
		(node)->node_case = PG_QUERY__NODE__NODE_##CASE;                                   \
		(node)->field = arena_alloc(arena, sizeof(*(node)->field));                        \
		INIT((node)->field);                                                               \
	} while (0)

PgQuery__Node *sql_new_string(struct arena *arena, char *text)
{
	PgQuery__Node *node;

	NEW_NODE(arena, node, STRING, string, pg_query__string__init);
	node->string->sval = text;
	return node;
}

PgQuery__Node *sql_new_column(struct arena *arena, char *relation, char *column)
{
	PgQuery__Node *node;

	NEW_NODE(arena, node, COLUMN_REF, column_ref, pg_query__column_ref__init);
	node->column_ref->n_fields = 2;
	node->column_ref->fields = arena_alloc(arena, 2 * sizeof(PgQuery__Node *));
	node->column_ref->fields[0] = sql_new_string(arena, relation);
	node->column_ref->fields[1] = sql_new_string(arena, column);
	return node;
}

PgQuery__Node *sql_new_target(struct arena *arena, PgQuery__Node *value, char *name)
{
	PgQuery__Node *node;

	NEW_NODE(arena, node, RES_TARGET, res_target, pg_query__res_target__init);
	node->res_target->val = value;
	if (name != NULL)
		node->res_target->name = name;
	return node;
}

PgQuery__Node *sql_new_integer(struct arena *arena, int value)
{
	PgQuery__Node *node;

	NEW_NODE(arena, node, A_CONST, a_const, pg_query__a__const__init);
	node->a_const->val_case = PG_QUERY__A__CONST__VAL_IVAL;
	node->a_const->ival = arena_alloc(arena, sizeof(*node->a_const->ival));
	pg_query__integer__init(node->a_const->ival);
	node->a_const->ival->ival = value;
	return node;
}

static bool is_simple_name(const char *name)
{
	if (!(*name >= 'a' && *name <= 'z') && *name != '_')
		return false;
	for (name++; *name != '\0'; name++) {
		if (!(*name >= 'a' && *name <= 'z') && !is_digit(*name) && *name != '_')
			return false;
	}
	return true;
}

char *sql_quote(struct arena *arena, const char *name, bool always)
{
	char *quoted, *to;

	if (!always && is_simple_name(name))
		return arena_strdup(arena, name);
	quoted = to = arena_alloc(arena, 2 * strlen(name) + 3);
	*to++ = '"';
	for (; *name != '\0'; name++) {
		if (*name == '"')
			*to++ = '"';
		*to++ = *name;
	}
	*to++ = '"';
	*to = '\0';
	return quoted;
}
