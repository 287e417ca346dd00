/* What server.c and worker.c have in common: frames, messages, and what they print. */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <gssapi/gssapi.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_TOKEN (64u << 10)
#define MAX_NAME 512

/* wipe overwrites what nobody shall find. */
static inline void wipe(void *p, size_t n)
{
	volatile unsigned char *v = p;
	while (n-- > 0)
		*v++ = 0;
}

/* complain prints why a call failed; it returns 0. */
static inline int complain(const char *what, OM_uint32 major, OM_uint32 minor)
{
	OM_uint32 ignored, more = 0;
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	if (gss_display_status(&ignored, minor ? minor : major, minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &text) != GSS_S_COMPLETE)
		text.length = 0;
	fprintf(stderr, "%s: %08x: %.*s\n", what, (unsigned)major, (int)text.length, (char *)text.value);
	gss_release_buffer(&ignored, &text);
	return 0;
}

/* A frame is four bytes of length and a token. These return 1, or 0 when the connection has failed. */

/* again: a descriptor that Go has, or had, may be one that does not block. */
static inline int again(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
	return errno == EINTR || ((errno == EAGAIN || errno == EWOULDBLOCK) && (poll(&p, 1, -1) >= 0 || errno == EINTR));
}

static inline int write_all(int fd, const void *p, size_t n)
{
	const char *b = p;
	while (n > 0) {
		ssize_t k = send(fd, b, n, MSG_NOSIGNAL);
		if (k < 0 && again(fd, POLLOUT))
			continue;
		if (k <= 0)
			return 0;
		b += k;
		n -= k;
	}
	return 1;
}

static inline int read_all(int fd, void *p, size_t n)
{
	char *b = p;
	while (n > 0) {
		ssize_t k = recv(fd, b, n, 0);
		if (k < 0 && again(fd, POLLIN))
			continue;
		if (k <= 0)
			return 0;
		b += k;
		n -= k;
	}
	return 1;
}

static inline int send_frame(int fd, const gss_buffer_desc *token)
{
	uint32_t n = htonl((uint32_t)token->length);
	return write_all(fd, &n, sizeof n) && write_all(fd, token->value, token->length);
}

/* receive_frame fills token, which the caller frees. */
static inline int receive_frame(int fd, gss_buffer_desc *token)
{
	uint32_t n;
	token->length = 0;
	token->value = NULL;
	if (!read_all(fd, &n, sizeof n) || (n = ntohl(n)) > MAX_TOKEN || !(token->value = malloc(n + 1)))
		return 0;
	token->length = n;
	return read_all(fd, token->value, n);
}

/* say sends a message, encrypted; an empty one is the end of what this end says. */
static inline int say(int fd, gss_ctx_id_t ctx, const void *text, size_t n)
{
	OM_uint32 major, minor, ignored;
	gss_buffer_desc message = {n, (void *)text}, token = GSS_C_EMPTY_BUFFER;
	int encrypted = 0, ok;
	major = gss_wrap(&minor, ctx, 1, GSS_C_QOP_DEFAULT, &message, &encrypted, &token);
	if (GSS_ERROR(major))
		return complain("gss_wrap", major, minor);
	ok = encrypted && send_frame(fd, &token);
	gss_release_buffer(&ignored, &token);
	return ok;
}

/* receive takes a message, which the caller gives to gss_release_buffer, whatever comes back. It must be the next one, and encrypted. */
static inline int receive(int fd, gss_ctx_id_t ctx, gss_buffer_desc *message)
{
	OM_uint32 major, minor;
	gss_buffer_desc token;
	int encrypted = 0;
	message->length = 0;
	message->value = NULL;
	if (!receive_frame(fd, &token)) {
		free(token.value);
		fprintf(stderr, "the connection was cut\n");
		return 0;
	}
	major = gss_unwrap(&minor, ctx, &token, message, &encrypted, NULL);
	free(token.value);
	if (major != GSS_S_COMPLETE) /* supplementary bits: a message is missing, or came twice */
		return complain("gss_unwrap", major, minor);
	return encrypted;
}

/* print_name writes a name to text. */
static inline int print_name(gss_name_t name, char text[MAX_NAME])
{
	OM_uint32 major, minor;
	gss_buffer_desc b = GSS_C_EMPTY_BUFFER;
	major = gss_display_name(&minor, name, &b, NULL);
	if (GSS_ERROR(major))
		return complain("gss_display_name", major, minor);
	snprintf(text, MAX_NAME, "%.*s", (int)b.length, (char *)b.value);
	gss_release_buffer(&minor, &b);
	return 1;
}

/* print_libraries prints which GSS-API libraries are in this process, a line each. */
static inline void print_libraries(void)
{
	char line[1024], last[1024] = "", *path;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof line, maps)) {
		path = strchr(line, '/');
		if (path && strstr(path, "/libgss") && strcmp(path, last) != 0)
			printf("library %s", strcpy(last, path));
	}
	if (maps)
		fclose(maps);
}

#endif
