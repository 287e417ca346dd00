//go:build ignore

/* A peer of gssapi.Conn in C, with the arguments of peer.py (HOST is an address):
 *
 *	cc -o peer peer.c $(pkg-config --cflags --libs mit-krb5-gssapi)    or heimdal-gssapi
 */
#include <arpa/inet.h>
#include <gssapi/gssapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
static OM_uint32 minor;
static FILE *in, *out; /* both are the connection */

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

static void send_token(gss_buffer_t token)
{
	uint32_t n = htonl(token->length);
	fwrite(&n, sizeof n, 1, out);
	fwrite(token->value, 1, token->length, out);
	gss_release_buffer(&minor, token);
}

static gss_buffer_desc receive(void) /* the next token; valid until the next call */
{
	static char b[1 << 20];
	gss_buffer_desc token = {0, b};
	uint32_t n = 0;
	fflush(out);
	check(fread(&n, sizeof n, 1, in) == 1 && (token.length = ntohl(n)) <= sizeof b &&
	      fread(b, 1, token.length, in) == token.length, "the stream was cut");
	return token;
}

static void say(FILE *from, int cut)
{
	char b[10000];
	gss_buffer_desc message = {0, b}, token;
	int encrypted;
	do {
		message.length = fread(b, 1, sizeof b, from); /* at the end 0: the end of stream */
		if (message.length == 0 && cut)
			break;
		check(gss_wrap(&minor, ctx, 1, GSS_C_QOP_DEFAULT, &message, &encrypted, &token) == GSS_S_COMPLETE && encrypted, "gss_wrap");
		send_token(&token);
	} while (message.length > 0);
	fflush(out);
}

static void hear(FILE *to)
{
	gss_buffer_desc token, message;
	int encrypted;
	do {
		token = receive();
		check(gss_unwrap(&minor, ctx, &token, &message, &encrypted, NULL) == GSS_S_COMPLETE && encrypted, "gss_unwrap");
		fwrite(message.value, 1, message.length, to);
		token.length = message.length;
		gss_release_buffer(&minor, &message);
	} while (token.length > 0);
	fflush(to);
}

int main(int argc, char **argv)
{
	int client = strcmp(argv[1], "client") == 0, cut = strcmp(argv[argc - 1], "cut") == 0;
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	gss_name_t target = GSS_C_NO_NAME, names[2];
	OM_uint32 major, flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG;
	gss_buffer_desc got = GSS_C_EMPTY_BUFFER, token, name;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (client) {
		addr.sin_port = htons(atoi(argv[3]));
		check(inet_pton(AF_INET, argv[2], &addr.sin_addr) == 1 && connect(fd, (struct sockaddr *)&addr, len) == 0, "connect");
		name.value = argv[4];
		name.length = strlen(argv[4]);
		check(gss_import_name(&minor, &name, GSS_C_NT_HOSTBASED_SERVICE, &target) == GSS_S_COMPLETE, "gss_import_name");
	} else {
		check(bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)&addr, &len) == 0, "listen");
		printf("%d\n", ntohs(addr.sin_port));
		fflush(stdout);
		check((fd = accept(fd, NULL, NULL)) >= 0, "accept");
	}
	in = fdopen(fd, "r");
	out = fdopen(dup(fd), "w");

	if (!client)
		got = receive();
	for (;;) {
		memset(&token, 0, sizeof token);
		major = client ? gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, &ctx, target, GSS_C_NO_OID, flags, 0, GSS_C_NO_CHANNEL_BINDINGS, got.length > 0 ? &got : GSS_C_NO_BUFFER, NULL, &token, NULL, NULL)
			       : gss_accept_sec_context(&minor, &ctx, GSS_C_NO_CREDENTIAL, &got, GSS_C_NO_CHANNEL_BINDINGS, NULL, NULL, &token, NULL, NULL, NULL);
		check(!GSS_ERROR(major), "the handshake failed");
		if (token.length > 0)
			send_token(&token);
		if (!(major & GSS_S_CONTINUE_NEEDED))
			break;
		got = receive();
	}
	check(gss_inquire_context(&minor, ctx, &names[0], &names[1], NULL, NULL, NULL, NULL, NULL) == GSS_S_COMPLETE &&
	      gss_display_name(&minor, names[client], &name, NULL) == GSS_S_COMPLETE, "the peer has no name");
	fprintf(stderr, "%.*s\n", (int)name.length, (char *)name.value);

	if (client) {
		say(stdin, cut);
		hear(stdout);
	} else {
		FILE *all = tmpfile();
		hear(all);
		rewind(all);
		say(all, cut);
	}
	return 0;
}
