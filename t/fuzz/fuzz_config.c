/*
 * Fuzz config: files that an administrator writes. First byte: 0 the configuration, 1
 * auth_file, 2 one value as the text of each kind of option.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/auth_file.h"
#include "proxy/config.h"
#include "proxy/log.h"
#include "t/fuzz/fuzz.h"

#define ERROR_SIZE 256

/* A file without a place on any disk. */
static int make_file(const uint8_t *data, size_t size, char path[32])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static void count_change(void *owner, const struct config_change *change)
{
	assert(change->option && change->from && change->to);
	++*(unsigned *)owner;
}

/* What one file says does not differ from itself, whatever it says. */
static void read_config(const char *path)
{
	struct config *config = config_new(), *again = config_new();
	char error[ERROR_SIZE] = "", second[ERROR_SIZE] = "";
	unsigned changes = 0;
	bool ok = config_read_file(config, path, error, sizeof(error));

	assert(ok == config_read_file(again, path, second, sizeof(second)));
	assert(ok == !error[0] && strcmp(error, second) == 0);
	config_adopt(config, again, count_change, &changes);
	assert(changes == 0);
	config_free(config);
	config_free(again);
}

static void read_auth_file(const char *path)
{
	struct log *log = log_new(STDERR_FILENO, LOG_ERROR);
	char error[ERROR_SIZE] = "";
	struct auth_file *file = auth_file_read(path, log, error, sizeof(error));
	const struct scram_verifier *verifier = file ? auth_file_find(file, "u") : NULL;

	assert(!file == !!error[0]);
	assert(!verifier || verifier->iterations > 0);
	auth_file_free(file);
	log_free(log);
}

static void set_values(const char *text)
{
	static const char *const names[] = {
#define OPTION(name, type, value, minimum, maximum, change, unit, help) #name,
#include "proxy/options.def"
#undef OPTION
	};
	struct config *config = config_new();
	char error[ERROR_SIZE];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		error[0] = '\0';
		assert(config_set(config, "fuzz", names[i], text, error, sizeof(error)) ==
		       !error[0]);
	}
	config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32], *text;
	int fd;

	if (size == 0)
		return 0;
	if (data[0] == 2) {
		text = strndup((const char *)data + 1, size - 1);
		if (!text)
			abort();
		set_values(text);
		free(text);
		return 0;
	}
	fd = make_file(data + 1, size - 1, path);
	if (data[0] == 1)
		read_auth_file(path);
	else
		read_config(path);
	close(fd);
	return 0;
}
