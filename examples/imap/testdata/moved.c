/* Dovecot knows its own files by their full names. This, loaded before it (LD_PRELOAD), has it find them below
   MOVED_ROOT, where its packages are unpacked. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *moved(const char *path, char *to, size_t size)
{
	const char *root = getenv("MOVED_ROOT");

	if (!path || !root || (strncmp(path, "/usr/lib/dovecot", 16) && strcmp(path, "/usr/bin/doveconf")))
		return path;
	snprintf(to, size, "%s%s", root, path);
	return to;
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int execv(const char *path, char *const argv[])
{
	char to[4096];
	return REAL(execv)(moved(path, to, sizeof to), argv);
}

DIR *opendir(const char *path)
{
	char to[4096];
	return REAL(opendir)(moved(path, to, sizeof to));
}

void *dlopen(const char *path, int flags)
{
	char to[4096];
	return REAL(dlopen)(moved(path, to, sizeof to), flags);
}
