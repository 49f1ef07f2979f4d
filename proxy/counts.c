/*
 * Counts: see counts.h.
 */
#include "proxy/counts.h"

#include <stdlib.h>
#include <string.h>

static bool parse_text_count(const struct wire_value *value, int64_t *count)
{
	char text[24], *end;

	if (value->len < 1 || (size_t)value->len >= sizeof(text))
		return false;
	memcpy(text, value->data, (size_t)value->len);
	text[value->len] = '\0';
	*count = strtoll(text, &end, 10);
	return *end == '\0' && text[0] >= '0' && text[0] <= '9';
}

static bool parse_binary_count(const struct wire_value *value, int64_t *count)
{
	switch (value->len) {
	case 2:
		*count = (int16_t)wire_u16(value->data);
		return true;
	case 4:
		*count = (int32_t)wire_u32(value->data);
		return true;
	case 8:
		*count =
		    (int64_t)((uint64_t)wire_u32(value->data) << 32 | wire_u32(value->data + 4));
		return true;
	default:
		return false;
	}
}

bool counts_read(const struct plan_count *count, const struct wire_bind *bind, int64_t *value)
{
	struct wire_value parameter;
	unsigned i = count->parameter - 1;

	if (count->kind != PLAN_COUNT_PARAMETER) {
		*value = count->kind == PLAN_COUNT_CONSTANT ? count->value : 0;
		return true;
	}
	if (!bind || i >= bind->nparameters)
		return false;
	parameter = wire_bind_value(bind, i);
	if (parameter.len < 0)
		return false;
	if (wire_format(bind->parameter_formats, bind->nparameter_formats, i) == 0
	        ? !parse_text_count(&parameter, value)
	        : !parse_binary_count(&parameter, value))
		return false;
	return *value >= 0 && *value <= count->maximum;
}
