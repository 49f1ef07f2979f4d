/*
 * Explain report: see explain_report.h. Within a JSON string a quote has a backslash,
 * so a search for "Key": finds keys only; keys of the root node come before its
 * children's.
 */
#include "proxy/explain_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static void put(struct iobuf *out, const char *text)
{
	iobuf_append(out, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void print(struct iobuf *out, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put(out, text);
}

/* The number behind the first `key` in the first `len` bytes; NAN: none. */
static double number_after(const char *text, size_t len, const char *key)
{
	const char *at = memmem(text, len, key, strlen(key));
	char digits[40];
	size_t n = 0;

	if (!at)
		return NAN;
	at += strlen(key);
	while (n + 1 < sizeof(digits) && at < text + len && strchr("0123456789.e+-", *at) && *at)
		digits[n++] = *at++;
	digits[n] = '\0';
	return n ? strtod(digits, NULL) : NAN;
}

/* Limit  (cost=1.00..2.00 rows=10 width=8) (actual time=0.10..0.20 rows=10 loops=1) */
static struct explain_figures read_line(const char *text, size_t len)
{
	const char *newline = memchr(text, '\n', len);
	const char *cost, *actual, *time;
	struct explain_figures figures = {NAN, NAN, NAN, NAN};

	if (newline)
		len = (size_t)(newline - text);
	cost = memmem(text, len, "(cost=", 6);
	if (cost) {
		figures.total_cost = number_after(cost, (size_t)(text + len - cost), "..");
		figures.width = number_after(cost, (size_t)(text + len - cost), " width=");
	}
	actual = memmem(text, len, "(actual ", 8);
	if (!actual)
		return figures;
	len = (size_t)(text + len - actual);
	figures.rows = number_after(actual, len, "rows=");
	time = memmem(actual, len, "time=", 5);
	if (time)
		figures.time_ms = number_after(time, len - (size_t)(time - actual), "..");
	return figures;
}

struct explain_figures explain_figures(const struct explain *explain, const struct iobuf *plan)
{
	const char *text = (const char *)iobuf_head(plan);
	size_t len = iobuf_len(plan);

	if (len == 0)
		return (struct explain_figures){NAN, NAN, NAN, NAN};
	if (explain->format != EXPLAIN_JSON)
		return read_line(text, len);
	return (struct explain_figures){
	    .total_cost = number_after(text, len, "\"Total Cost\": "),
	    .width = number_after(text, len, "\"Plan Width\": "),
	    .rows = number_after(text, len, "\"Actual Rows\": "),
	    .time_ms = number_after(text, len, "\"Actual Total Time\": "),
	};
}

/* ---- all shards together ---- */

struct summary {
	double least_rows, most_rows;
	double least_ms, most_ms;
	unsigned slowest;
	struct explain_figures shown; /* of the first one shown */
};

static struct summary summarize(const struct explain_report *report)
{
	struct summary summary = {NAN, NAN, NAN, NAN, 0, {NAN, NAN, NAN, NAN}};

	for (unsigned i = 0; i < report->nasked; i++) {
		struct explain_figures figures =
		    explain_figures(report->explain, &report->asked[i].plan);

		summary.least_rows = fmin(summary.least_rows, figures.rows);
		summary.most_rows = fmax(summary.most_rows, figures.rows);
		summary.least_ms = fmin(summary.least_ms, figures.time_ms);
		if (figures.time_ms > (isnan(summary.most_ms) ? -1 : summary.most_ms)) {
			summary.most_ms = figures.time_ms;
			summary.slowest = i;
		}
	}
	if (report->nasked)
		summary.shown =
		    explain_figures(report->explain, &report->asked[summary.slowest].plan);
	return summary;
}

/* With VERBOSE all, else one: the slowest of those that were run. */
static bool is_shown(const struct explain_report *report, const struct summary *summary, unsigned i)
{
	return report->explain->verbose || i == summary->slowest;
}

/* ---- FORMAT TEXT ---- */

static void put_head(const struct explain_report *report, const struct summary *summary,
                     struct iobuf *out)
{
	const struct explain *explain = report->explain;

	put(out, "Top-K Merge on ");
	put(out, report->schema);
	put(out, ".");
	put(out, report->table);
	/* the first row comes when the last shard has answered */
	if (explain->costs && !isnan(summary->shown.total_cost))
		print(out, "  (cost=%.2f..%.2f rows=%" PRIu64 " width=%.0f)",
		      summary->shown.total_cost, summary->shown.total_cost, report->limit,
		      summary->shown.width);
	else if (explain->analyze)
		put(out, " ");
	if (explain->analyze && explain->timing)
		print(out, " (actual time=%.3f..%.3f rows=%" PRIu64 " loops=1)",
		      report->execution_ms, report->execution_ms, report->rows);
	else if (explain->analyze)
		print(out, " (actual rows=%" PRIu64 " loops=1)", report->rows);
	put(out, "\n");
}

static void put_properties(const struct explain_report *report, const struct summary *summary,
                           struct iobuf *out)
{
	const struct explain *explain = report->explain;

	put(out, "  Sort Key: ");
	put(out, report->sort_keys);
	print(out, "\n  Shards: %u\n  Nodes: %u\n  Lanes: %u\n", report->nshards, report->nodes,
	      report->lanes);
	print(out, "  Limit per Shard: %" PRIu64 "\n", report->per_shard);
	print(out, "  ef_search: %s\n", report->ef_search);
	if (report->probes)
		print(out, "  Probes: %s\n", report->probes);
	print(out, "  Iterative Scan: %s\n", report->iterative_scan);
	if (explain->analyze) {
		print(out, "  Refills: %u\n", report->refills);
		print(out, "  Rows from Shards: %" PRIu64 "\n", report->received);
		if (!isnan(summary->most_rows))
			print(out, "  Rows per Shard: %.0f..%.0f\n", summary->least_rows,
			      summary->most_rows);
		if (explain->timing && !isnan(summary->most_ms))
			print(out, "  Time per Shard: %.3f..%.3f ms\n", summary->least_ms,
			      summary->most_ms);
		if (explain->timing)
			print(out, "  Merge Time: %.3f ms\n", report->merge_ms);
	}
	if (!explain->verbose && report->nshards > 1)
		print(out, "  Shards Shown: one of %u%s\n", report->nshards,
		      isnan(summary->most_ms) ? "" : ", the slowest");
}

/* The root becomes a child, lines at the margin (Planning Time: ...) its parent's. */
static void put_plan(const struct explain_shard *shard, struct iobuf *out)
{
	const char *at = (const char *)iobuf_head(&shard->plan);
	const char *end = at + iobuf_len(&shard->plan);
	bool first = true, below = true;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);

		if (!first && *at != ' ')
			below = false;
		put(out, first ? "        ->  " : below ? "            " : "        ");
		iobuf_append(out, at, len);
		put(out, "\n");
		at += len + 1;
		first = false;
	}
}

static void write_text(const struct explain_report *report, struct iobuf *out)
{
	struct summary summary = summarize(report);

	put_head(report, &summary, out);
	put_properties(report, &summary, out);
	for (unsigned i = 0; i < report->nasked; i++) {
		const struct explain_shard *shard = &report->asked[i];

		if (!is_shown(report, &summary, i))
			continue;
		put(out, "  ->  Shard ");
		put(out, shard->name);
		put(out, " on ");
		put(out, shard->node);
		put(out, "\n");
		if (shard->sql) {
			put(out, "        Query: ");
			put(out, shard->sql);
			put(out, "\n");
		}
		put_plan(shard, out);
	}
	if (report->explain->summary)
		print(out, "Planning Time: %.3f ms\n", report->planning_ms);
	if (report->explain->summary && report->explain->analyze)
		print(out, "Execution Time: %.3f ms\n", report->execution_ms);
}

/* ---- FORMAT JSON ---- */

static void put_string(struct iobuf *out, const char *text)
{
	put(out, "\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			print(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			print(out, "\\u%04x", *text);
		else
			iobuf_append(out, text, 1);
	}
	put(out, "\"");
}

static void put_key(struct iobuf *out, const char *indent, const char *key)
{
	print(out, "%s\"%s\": ", indent, key);
}

static void put_pair(struct iobuf *out, const char *indent, const char *key, const char *value)
{
	put_key(out, indent, key);
	put_string(out, value);
	put(out, ",\n");
}

static void put_count(struct iobuf *out, const char *indent, const char *key, double value)
{
	put_key(out, indent, key);
	print(out, "%.0f,\n", value);
}

static void put_decimal(struct iobuf *out, const char *indent, const char *key, double value)
{
	put_key(out, indent, key);
	print(out, "%.3f,\n", value);
}

/* Takes back the comma behind the last member. */
static void end_members(struct iobuf *out)
{
	iobuf_truncate(out, iobuf_len(out) - 2);
	put(out, "\n");
}

/* Lines, further to the right. */
static void put_shifted(struct iobuf *out, const char *text, size_t len, const char *shift)
{
	const char *end = text + len;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = (size_t)((newline ? newline + 1 : end) - text);

		iobuf_append(out, text, line);
		if (newline)
			put(out, shift);
		text += line;
	}
}

/* Behind the value that begins with { at `at`; NULL: it does not end. */
static const char *skip_object(const char *at, const char *end)
{
	unsigned depth = 0;
	bool quoted = false;

	for (; at < end; at++) {
		if (quoted && *at == '\\')
			at++;
		else if (*at == '"')
			quoted = !quoted;
		else if (!quoted && *at == '{')
			depth++;
		else if (!quoted && *at == '}' && --depth == 0)
			return at + 1;
	}
	return NULL;
}

/* [{"Plan": {...}, "Execution Time": 1}]: the plan as the only child, then the rest. */
static void put_json_plan(const struct explain_shard *shard, struct iobuf *out)
{
	static const char key[] = "\"Plan\": ";
	static const char shift[] = "            ";
	const char *text = (const char *)iobuf_head(&shard->plan);
	const char *end = text + iobuf_len(&shard->plan);
	const char *object = text ? memchr(text, '{', (size_t)(end - text)) : NULL;
	const char *plan = text ? memmem(text, (size_t)(end - text), key, strlen(key)) : NULL;
	const char *plan_end, *object_end;

	put(out, "            \"Plans\": [\n                ");
	object_end = object ? skip_object(object, end) : NULL;
	plan = plan ? plan + strlen(key) : NULL;
	plan_end = plan ? skip_object(plan, end) : NULL;
	if (!object_end || !plan_end) {
		put(out, "\n            ]");
		return;
	}
	put_shifted(out, plan, (size_t)(plan_end - plan), shift);
	put(out, "\n            ]");
	object_end--;
	while (object_end > plan_end && strchr(" \n", object_end[-1]))
		object_end--;
	put_shifted(out, plan_end, (size_t)(object_end - plan_end), "        ");
}

static void put_shards(const struct explain_report *report, const struct summary *summary,
                       struct iobuf *out)
{
	static const char indent[] = "            ";
	const char *before = "        {\n";

	put(out, "      \"Plans\": [\n");
	for (unsigned i = 0; i < report->nasked; i++) {
		const struct explain_shard *shard = &report->asked[i];

		if (!is_shown(report, summary, i))
			continue;
		put(out, before);
		before = ",\n        {\n";
		put_pair(out, indent, "Node Type", "Shard");
		put_pair(out, indent, "Parent Relationship", "Member");
		put_pair(out, indent, "Shard", shard->name);
		put_pair(out, indent, "Node", shard->node);
		if (shard->sql)
			put_pair(out, indent, "Query", shard->sql);
		put_json_plan(shard, out);
		put(out, "\n        }");
	}
	put(out, "\n      ]\n");
}

static void put_json_numbers(const struct explain_report *report, const struct summary *summary,
                             struct iobuf *out)
{
	static const char in[] = "      ";
	const struct explain *explain = report->explain;

	if (explain->costs && !isnan(summary->shown.total_cost)) {
		print(out, "%s\"Startup Cost\": %.2f,\n", in, summary->shown.total_cost);
		print(out, "%s\"Total Cost\": %.2f,\n", in, summary->shown.total_cost);
		put_count(out, in, "Plan Rows", (double)report->limit);
		put_count(out, in, "Plan Width", summary->shown.width);
	}
	if (!explain->analyze)
		return;
	if (explain->timing) {
		put_decimal(out, in, "Actual Startup Time", report->execution_ms);
		put_decimal(out, in, "Actual Total Time", report->execution_ms);
	}
	put_count(out, in, "Actual Rows", (double)report->rows);
	put_count(out, in, "Actual Loops", 1);
	put_count(out, in, "Refills", report->refills);
	put_count(out, in, "Rows from Shards", (double)report->received);
	if (!isnan(summary->most_rows)) {
		put_count(out, in, "Least Rows of a Shard", summary->least_rows);
		put_count(out, in, "Most Rows of a Shard", summary->most_rows);
	}
	if (explain->timing && !isnan(summary->most_ms)) {
		put_decimal(out, in, "Least Time of a Shard", summary->least_ms);
		put_decimal(out, in, "Most Time of a Shard", summary->most_ms);
	}
	if (explain->timing)
		put_decimal(out, in, "Merge Time", report->merge_ms);
}

static void write_json(const struct explain_report *report, struct iobuf *out)
{
	static const char in[] = "      ";
	struct summary summary = summarize(report);

	put(out, "[\n  {\n    \"Plan\": {\n");
	put_pair(out, in, "Node Type", "Top-K Merge");
	put(out, "      \"Parallel Aware\": false,\n      \"Async Capable\": false,\n");
	put_pair(out, in, "Relation Name", report->table);
	put_pair(out, in, "Schema", report->schema);
	put_key(out, in, "Sort Key");
	put(out, "[");
	put_string(out, report->sort_keys);
	put(out, "],\n");
	put_count(out, in, "Shards", report->nshards);
	put_count(out, in, "Nodes", report->nodes);
	put_count(out, in, "Lanes", report->lanes);
	put_count(out, in, "Limit per Shard", (double)report->per_shard);
	put_count(out, in, "ef_search", atof(report->ef_search));
	if (report->probes)
		put_count(out, in, "Probes", atof(report->probes));
	put_pair(out, in, "Iterative Scan", report->iterative_scan);
	put_json_numbers(report, &summary, out);
	put_shards(report, &summary, out);
	put(out, "    },\n");
	if (report->explain->summary)
		put_decimal(out, "    ", "Planning Time", report->planning_ms);
	if (report->explain->summary && report->explain->analyze)
		put_decimal(out, "    ", "Execution Time", report->execution_ms);
	end_members(out);
	put(out, "  }\n]");
}

void explain_report_write(const struct explain_report *report, struct iobuf *out)
{
	if (report->explain->format == EXPLAIN_JSON)
		write_json(report, out);
	else
		write_text(report, out);
}
