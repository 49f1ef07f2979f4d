/*
 * Bound: see bound.h.
 */
#include "proxy/bound.h"

#include "parser/clock.h"

bool bound_to_clock(const struct wire_bind *bind)
{
	struct wire_reader reader;
	struct wire_value value;

	if (!bind)
		return false;
	wire_read_init(&reader, bind->parameters, bind->parameters_len);
	for (unsigned i = 0; i < bind->nparameters && wire_read_value(&reader, &value); i++)
		if (value.len > 0 &&
		    wire_format(bind->parameter_formats, bind->nparameter_formats, i) == 0 &&
		    clock_may_be((const char *)value.data, (size_t)value.len))
			return true;
	return false;
}
