/*
 * Script: see script.h. Here are the messages and the print; session.c thinks up
 * what is in them.
 */
#include "t/torture/script.h"

#include <string.h>

#include "proxy/wire.h"

/* ---- messages ---- */

static const char *call_sql(const struct script_call *call)
{
	return call->question ? question_sql(call->question) : call->sql;
}

static void put_parse(struct iobuf *out, const struct script_call *call, const char *statement,
                      const char *sql, bool certain, const uint32_t *vectors)
{
	uint32_t types[QUESTION_PARAMETERS_MAX];
	unsigned count = call->question ? call->question->nparameters : 0;

	for (unsigned i = 0; i < count; i++) {
		const struct question_parameter *parameter = &call->question->parameters[i];

		types[i] = certain && !parameter->type ? parameter->certain : parameter->type;
		if (types[i] >= QUESTION_VECTOR_TYPE(0))
			types[i] = vectors[types[i] - QUESTION_VECTOR_TYPE(0)];
	}
	wire_put_parse(out, statement, sql, strlen(sql), count, types);
}

static void put_values(struct iobuf *out, const struct question *question)
{
	unsigned count = question ? question->nparameters : 0;

	wire_put_u16(out, (uint16_t)count);
	for (unsigned i = 0; i < count; i++)
		wire_put_u16(out, question->parameters[i].binary != NULL);
	wire_put_u16(out, (uint16_t)count);
	for (unsigned i = 0; i < count; i++) {
		const struct question_parameter *parameter = &question->parameters[i];

		if (!parameter->text) {
			wire_put_u32(out, UINT32_MAX);
		} else if (parameter->binary) {
			wire_put_u32(out, parameter->binary_len);
			wire_put_bytes(out, parameter->binary, parameter->binary_len);
		} else {
			wire_put_u32(out, (uint32_t)strlen(parameter->text));
			wire_put_bytes(out, parameter->text, strlen(parameter->text));
		}
	}
}

/* How many columns the question has; 0: not known. */
static unsigned width(const struct question *question)
{
	unsigned count = 0;

	if (!question || question->other_shape)
		return 0;
	for (unsigned i = 0; i < question->ntargets; i++) {
		size_t len = strlen(question->targets[i]);

		count +=
		    len > 0 && question->targets[i][len - 1] == '*' ? question->table->ncolumns : 1;
	}
	return count;
}

/* With `rank`, a text comes behind the other columns, of which there are `count`. */
static void put_formats(struct iobuf *out, const struct script_call *call, unsigned count,
                        bool rank)
{
	if (count == 0 || (call->format == 0 && !rank)) {
		wire_put_u16(out, call->format == 0 ? 0 : 1);
		if (call->format != 0)
			wire_put_u16(out, 1);
		return;
	}
	wire_put_u16(out, (uint16_t)(count + rank));
	for (unsigned i = 0; i < count; i++)
		wire_put_u16(out, call->format == 2 ? (i % 2) : (uint16_t)call->format);
	if (rank)
		wire_put_u16(out, 0);
}

static void put_bind(struct iobuf *out, const struct script_call *call, const char *statement,
                     const char *portal, unsigned count, bool rank)
{
	size_t mark = wire_begin(out, WIRE_FE_Bind);

	wire_put_string(out, portal);
	wire_put_string(out, statement);
	put_values(out, call->question);
	put_formats(out, call, count, rank);
	wire_end(out, mark);
}

static void put_call(struct iobuf *out, const struct script_call *call, const uint32_t *vectors)
{
	if (call->parse)
		put_parse(out, call, call->statement, call_sql(call), false, vectors);
	if (call->describe_statement)
		wire_put_describe(out, 'S', call->statement);
	put_bind(out, call, call->statement, call->portal, width(call->question), false);
	if (call->describe_portal)
		wire_put_describe(out, 'P', call->portal);
	wire_put_execute(out, call->portal, call->max_rows);
	if (call->again)
		wire_put_execute(out, call->portal, 0);
	if (call->flush)
		wire_put_bare(out, WIRE_FE_Flush);
	if (call->close)
		wire_put_close(out, *call->portal ? 'P' : 'S',
		               *call->portal ? call->portal : call->statement);
}

unsigned script_put(struct iobuf *out, const struct script_step *step, const uint32_t *vectors)
{
	unsigned syncs = 1;

	if (step->simple) {
		wire_put_query(out, call_sql(&step->calls[0]));
		return syncs;
	}
	for (unsigned i = 0; i < step->ncalls; i++) {
		put_call(out, &step->calls[i], vectors);
		if (step->calls[i].sync) {
			wire_put_bare(out, WIRE_FE_Sync);
			syncs++;
		}
	}
	wire_put_bare(out, WIRE_FE_Sync);
	return syncs;
}

void script_put_all(struct iobuf *out, const struct script_call *call, const char *sql,
                    const uint32_t *vectors, unsigned columns)
{
	put_parse(out, call, "", sql, true, vectors);
	put_bind(out, call, "", "", columns, true);
	wire_put_execute(out, "", 0);
	wire_put_bare(out, WIRE_FE_Sync);
}

/* ---- for people ---- */

static void print_parameters(FILE *to, const struct question *question)
{
	for (unsigned i = 0; question && i < question->nparameters; i++) {
		const struct question_parameter *parameter = &question->parameters[i];

		fprintf(to, " $%u=%s%s%s", i + 1, parameter->text ? parameter->text : "NULL",
		        parameter->binary ? " (binary)" : "", parameter->type ? " (typed)" : "");
		if (parameter->type)
			fprintf(to, "[%u]", parameter->type);
	}
}

static void print_call(FILE *to, const struct script_call *call)
{
	if (call->parse)
		fprintf(to, "Parse \"%s\" %s\n", call->statement, call_sql(call));
	fprintf(to, "    -- Bind \"%s\" to \"%s\"%s result=%s", call->statement, call->portal,
	        call->describe_statement ? " DescribeS" : "",
	        call->format == 0   ? "text"
	        : call->format == 1 ? "binary"
	                            : "mixed");
	print_parameters(to, call->question);
	fprintf(to, "%s Execute %u%s%s%s%s\n", call->describe_portal ? " DescribeP" : "",
	        call->max_rows, call->again ? " Execute 0" : "", call->flush ? " Flush" : "",
	        call->close ? " Close" : "", call->sync ? " Sync" : "");
}

void script_print(FILE *to, const struct script *script)
{
	fprintf(to, "-- user=%s options=%s\n", script->user,
	        script->options ? script->options : "");
	if (script->before)
		fprintf(to, "-- before: %s\n", script->before);
	for (unsigned i = 0; i < script->nsteps; i++) {
		const struct script_step *step = &script->steps[i];

		if (step->skip)
			continue;
		fprintf(to, "/* %u.%u */ ", i, step->who);
		if (step->simple || step->admin)
			fprintf(to, "%s%s\n", step->admin ? "the superuser: " : "",
			        call_sql(&step->calls[0]));
		for (unsigned c = 0; !step->simple && !step->admin && c < step->ncalls; c++)
			print_call(to, &step->calls[c]);
	}
}
