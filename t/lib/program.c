/*
 * Program: see program.h.
 */
#include "t/lib/program.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "t/lib/cluster.h"

#define OUTPUT_MAX (1 << 20)

bool program_installed(const char *name)
{
	return system(text("command -v %s >/dev/null 2>&1", name)) == 0;
}

char *program_run(const char *command, const char *input, int *status)
{
	char path[] = "/tmp/pgtopk-input-XXXXXX";
	int fd = mkstemp(path);
	char *output = calloc(1, OUTPUT_MAX), rest[4096];
	FILE *pipe;

	cr_assert(fd >= 0 && output);
	if (input)
		cr_assert_eq(write(fd, input, strlen(input)), (ssize_t)strlen(input));
	close(fd);
	pipe = popen(text("{ %s ; } <%s 2>&1", command, path), "r");
	cr_assert_not_null(pipe);
	if (fread(output, 1, OUTPUT_MAX - 1, pipe) == 0)
		output[0] = '\0';
	while (fread(rest, 1, sizeof(rest), pipe) > 0)
		;
	*status = pclose(pipe);
	unlink(path);
	return output;
}

void program_must(const char *command)
{
	int status;
	char *output = program_run(command, NULL, &status);

	cr_assert_eq(status, 0, "%s: %s", command, output);
	free(output);
}
