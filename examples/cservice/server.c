//go:build ignore

/* A C server that has a part written in Go: doc.go tells about it.
 *
 *	server serve             prints its port, and serves until SIGTERM
 *	server refuse            gives Go what it must refuse
 *	server unsure            does not tell Go which library it uses: see GSSAPI_LIBRARY
 *
 * It links libgssapi itself, and accepts in C. Go gets the context, serves the client,
 * and gives the context back for the last words.
 */
#include "libgoserver.h"
#include "wire.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

static gss_cred_id_t credential; /* from Go; threads share it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;
static int running, failed; /* clients, guarded by lock */

static const OM_uint32 want = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG;

static void must(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "server: %s\n", what);
		exit(1);
	}
}

/* handshake is the acceptor's. */
static int handshake(int fd, goserver_session *s)
{
	gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
	gss_name_t peer = GSS_C_NO_NAME;
	gss_cred_id_t delegated = GSS_C_NO_CREDENTIAL;
	OM_uint32 major, minor, ignored, flags = 0;
	int ok;
	do {
		gss_buffer_desc in, out = GSS_C_EMPTY_BUFFER;
		ok = receive_frame(fd, &in);
		if (!ok) {
			free(in.value);
			break;
		}
		major = gss_accept_sec_context(&minor, &ctx, credential, &in, GSS_C_NO_CHANNEL_BINDINGS, &peer, NULL, &out, &flags, NULL, &delegated);
		free(in.value);
		if (out.length > 0)
			ok = send_frame(fd, &out);
		gss_release_buffer(&ignored, &out);
		if (GSS_ERROR(major))
			ok = complain("gss_accept_sec_context", major, minor);
	} while (ok && (major & GSS_S_CONTINUE_NEEDED));
	if (ok && (flags & want) != want) {
		fprintf(stderr, "the client does not protect its messages\n");
		ok = 0;
	}
	s->context = ctx;
	s->peer = peer;
	s->delegated = delegated;
	return ok;
}

/* hear takes one message of the client, whatever it is. */
static int hear(int fd, gss_ctx_id_t ctx)
{
	OM_uint32 minor;
	gss_buffer_desc message;
	int ok = receive(fd, ctx, &message);
	gss_release_buffer(&minor, &message);
	return ok;
}

/* release gives the library back all that C has. */
static void release(goserver_session *s)
{
	OM_uint32 minor;
	gss_ctx_id_t ctx = s->context;
	gss_name_t peer = s->peer;
	gss_cred_id_t delegated = s->delegated;
	if (ctx != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &ctx, GSS_C_NO_BUFFER);
	if (peer != GSS_C_NO_NAME)
		gss_release_name(&minor, &peer);
	if (delegated != GSS_C_NO_CREDENTIAL)
		gss_release_cred(&minor, &delegated);
	s->context = s->peer = s->delegated = NULL;
}

/* compare asks in C for what Go has seen. */
static int compare(const goserver_session *s, char client[MAX_NAME])
{
	OM_uint32 major, minor, flags = 0;
	gss_name_t source = GSS_C_NO_NAME, holder = GSS_C_NO_NAME;
	char text[MAX_NAME] = "";
	int open = 0, ok;
	major = gss_inquire_context(&minor, s->context, &source, NULL, NULL, NULL, &flags, NULL, &open);
	if (GSS_ERROR(major))
		return complain("gss_inquire_context", major, minor);
	ok = open && print_name(source, client) && print_name(s->peer, text) &&
	     strcmp(client, text) == 0 && strcmp(client, s->name) == 0 && flags == s->flags;
	if (!ok)
		fprintf(stderr, "C sees %s, %s, %x; Go has seen %s, %x\n", client, text, (unsigned)flags, s->name, (unsigned)s->flags);
	gss_release_name(&minor, &source);
	if (ok && s->delegated) {
		major = gss_inquire_cred(&minor, s->delegated, &holder, NULL, NULL, NULL);
		if (GSS_ERROR(major))
			return complain("gss_inquire_cred", major, minor);
		ok = print_name(holder, text) && strcmp(client, text) == 0;
		gss_release_name(&minor, &holder);
	}
	return ok;
}

static int converse(int fd)
{
	goserver_session s = {.fd = fd};
	char client[MAX_NAME] = "", words[MAX_NAME + 64];
	int ok = handshake(fd, &s);
	if (ok) {
		int delegated = s.delegated != NULL;
		gss_ctx_id_t ctx = s.context;
		ok = hear(fd, ctx) && say(fd, ctx, "welcome", 7); /* so the numbers do not begin in Go */
		if (ok && goserver_serve(&s) != GSS_S_COMPLETE) {
			fprintf(stderr, "goserver_serve: %s\n", s.error);
			ok = 0;
		}
		/* All is C's again: the same handles, and a connection that blocks. */
		if (ok && (s.context != ctx || !s.peer || delegated != (s.delegated != NULL) || (fcntl(fd, F_GETFL) & O_NONBLOCK))) {
			fprintf(stderr, "Go has not given back what it had\n");
			ok = 0;
		}
		if (ok && compare(&s, client)) {
			int n = snprintf(words, sizeof words, "goodbye %s", client);
			ok = say(fd, ctx, words, n) && hear(fd, ctx) && say(fd, ctx, "", 0);
			printf("served %s delegated %d\n", client, delegated);
		} else
			ok = 0;
	}
	release(&s);
	return ok;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg, ok = converse(fd);
	close(fd);
	pthread_mutex_lock(&lock);
	running--;
	failed += !ok;
	pthread_cond_signal(&one_ended);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int stop[2]; /* a pipe: what is written to it ends the server */

static void on_term(int sig)
{
	int e = errno;
	ssize_t n = write(stop[1], "", 1);
	(void)sig;
	(void)n;
	errno = e;
}

static void listen_and_serve(void)
{
	/* A signal may come to a thread of Go, whose stacks are small: SA_ONSTACK. */
	struct sigaction term = {.sa_handler = on_term, .sa_flags = SA_ONSTACK | SA_RESTART};
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	must(pipe(stop) == 0 && sigaction(SIGTERM, &term, NULL) == 0, "signals");
	must(fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) == 0 && listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&addr, &len) == 0, "listen");
	printf("port %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		struct pollfd ready[2] = {{.fd = fd, .events = POLLIN}, {.fd = stop[0], .events = POLLIN}};
		pthread_t thread;
		int client;
		if (poll(ready, 2, -1) < 0) {
			must(errno == EINTR, "poll");
			continue;
		}
		if (ready[1].revents)
			break;
		client = accept(fd, NULL, NULL);
		if (client < 0)
			continue;
		pthread_mutex_lock(&lock);
		running++;
		pthread_mutex_unlock(&lock);
		must(pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) == 0 && pthread_detach(thread) == 0, "a thread");
	}
	close(fd);
	pthread_mutex_lock(&lock);
	while (running > 0)
		pthread_cond_wait(&one_ended, &lock);
	pthread_mutex_unlock(&lock);
	printf("failed %d\n", failed);
}

/* refuse: each of these is an error that C is told of, and C has its handles after it. */

static void is(const char *what, OM_uint32 major, OM_uint32 expected, const char *error)
{
	printf("refused %s: %s\n", what, error);
	if (GSS_ROUTINE_ERROR(major) != GSS_ROUTINE_ERROR(expected) || !*error) {
		fprintf(stderr, "server: %s: status %08x, expected %08x: %s\n", what, (unsigned)major, (unsigned)expected, error);
		exit(1);
	}
}

/* pair makes both ends of a context, with steps tokens at most. */
static OM_uint32 pair(gss_name_t target, gss_ctx_id_t *i, goserver_session *a, OM_uint32 flags, int steps)
{
	OM_uint32 major = GSS_S_CONTINUE_NEEDED, minor, ignored;
	gss_buffer_desc to_a = GSS_C_EMPTY_BUFFER, to_i = GSS_C_EMPTY_BUFFER;
	gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
	gss_name_t peer = GSS_C_NO_NAME;
	*i = GSS_C_NO_CONTEXT;
	while (steps-- > 0) {
		major = gss_init_sec_context(&minor, GSS_C_NO_CREDENTIAL, i, target, GSS_C_NO_OID, flags, 0, GSS_C_NO_CHANNEL_BINDINGS, to_i.length ? &to_i : GSS_C_NO_BUFFER, NULL, &to_a, NULL, NULL);
		gss_release_buffer(&ignored, &to_i);
		if (GSS_ERROR(major) || !to_a.length || steps-- == 0)
			break;
		major = gss_accept_sec_context(&minor, &ctx, credential, &to_a, GSS_C_NO_CHANNEL_BINDINGS, &peer, NULL, &to_i, NULL, NULL, NULL);
		gss_release_buffer(&ignored, &to_a);
		if (GSS_ERROR(major) || !to_i.length)
			break;
	}
	gss_release_buffer(&ignored, &to_a);
	gss_release_buffer(&ignored, &to_i);
	if (GSS_ERROR(major))
		complain("the handshake", major, minor);
	must(!GSS_ERROR(major), "no context");
	a->context = ctx;
	a->peer = peer;
	return major;
}

/* works sends a message from one end to the other. */
static void works(const char *what, gss_ctx_id_t from, gss_ctx_id_t to)
{
	OM_uint32 major, minor;
	gss_buffer_desc text = {2, "hi"}, token = GSS_C_EMPTY_BUFFER, got = GSS_C_EMPTY_BUFFER;
	int encrypted = 0;
	major = gss_wrap(&minor, from, 1, GSS_C_QOP_DEFAULT, &text, &encrypted, &token);
	if (!GSS_ERROR(major))
		major = gss_unwrap(&minor, to, &token, &got, &encrypted, NULL);
	if (major != GSS_S_COMPLETE)
		complain(what, major, minor);
	must(major == GSS_S_COMPLETE && got.length == 2, what);
	gss_release_buffer(&minor, &token);
	gss_release_buffer(&minor, &got);
}

static void refuse(gss_name_t service)
{
	goserver_session s = {.fd = -1}, other = {.fd = -1};
	goserver_identity none;
	OM_uint32 minor;
	gss_ctx_id_t i;
	char text[GOSERVER_TEXT], host[] = "no such host", at[] = "a@b";
	int pipes[2];

	is("an address that is in no library", goserver_load(&minor, text, sizeof text), GSS_S_UNAVAILABLE, text);
	is("no address", goserver_load(NULL, text, sizeof text), GSS_S_UNAVAILABLE, text);
	is("a name that is none", goserver_acquire(at, host, &none), GSS_S_BAD_NAME, none.error);
	must(!none.name && !none.credential, "handles came with an error");

	is("no context", goserver_serve(&s), GSS_S_NO_CONTEXT, s.error);

	/* Established on neither side; in DCE's style an acceptor waits for a third token. */
	must(pair(service, &i, &s, want, 1) == GSS_S_CONTINUE_NEEDED && !s.context, "a context that is half way");
	s.context = i;
	is("an initiator that is half way", goserver_serve(&s), GSS_S_NO_CONTEXT, s.error);
	must(s.context == i, "the handle of the initiator");
	release(&s);
	must(pair(service, &i, &s, want | 0x1000, 2) == GSS_S_CONTINUE_NEEDED && s.context, "an acceptor that is half way");
	{
		OM_uint32 major = goserver_serve(&s);
		is("an acceptor that is half way", major, major == GSS_S_UNAVAILABLE ? GSS_S_UNAVAILABLE : GSS_S_NO_CONTEXT, s.error);
	}
	must(s.context != NULL, "the handle of the acceptor");
	release(&s);
	gss_delete_sec_context(&minor, &i, GSS_C_NO_BUFFER);

	/* An established one, with which something else is wrong; it is good for the next. */
	must(pair(service, &i, &s, GSS_C_MUTUAL_FLAG, 9) == GSS_S_COMPLETE, "a context without protection");
	is("a context without protection", goserver_serve(&s), GSS_S_UNAUTHORIZED, s.error);
	release(&s);
	gss_delete_sec_context(&minor, &i, GSS_C_NO_BUFFER);

	must(pair(service, &i, &s, want, 9) == GSS_S_COMPLETE, "a context");
	other = s;
	s.peer = NULL;
	is("no name", goserver_serve(&s), GSS_S_BAD_NAME, s.error);
	works("after no name", s.context, i);
	s.peer = service;
	is("the name of another", goserver_serve(&s), GSS_S_FAILURE, s.error);
	must(s.peer == service, "the handle of the other's name");
	s.peer = other.peer;
	s.delegated = credential;
	is("the credential of another", goserver_serve(&s), GSS_S_FAILURE, s.error);
	must(s.delegated == credential, "the handle of the other's credential");
	s.delegated = NULL;
	is("no connection", goserver_serve(&s), GSS_S_FAILURE, s.error);
	must(pipe(pipes) == 0, "pipe");
	s.fd = pipes[0];
	close(pipes[0]);
	is("a closed connection", goserver_serve(&s), GSS_S_FAILURE, s.error);
	s.fd = pipes[1];
	is("what is no connection", goserver_serve(&s), GSS_S_FAILURE, s.error);
	close(pipes[1]);
	works("after no connection", s.context, i);
	s.panics = 1;
	is("a panic", goserver_serve(&s), GSS_S_FAILURE, s.error);
	s.panics = 0;
	must(s.context == other.context && s.peer == other.peer, "the handles after a panic");
	works("after a panic", s.context, i);
	works("after a panic, to here", i, s.context);
	release(&s);
	gss_delete_sec_context(&minor, &i, GSS_C_NO_BUFFER);
}

/* unsure: Go was not told which library is C's, and has taken another. */
static void unsure(gss_name_t service)
{
	goserver_session s = {.fd = -1};
	OM_uint32 minor;
	gss_ctx_id_t i;
	must(pair(service, &i, &s, want, 9) == GSS_S_COMPLETE, "a context");
	is("a context of who knows which library", goserver_serve(&s), GSS_S_UNAVAILABLE, s.error);
	works("after that", s.context, i);
	release(&s);
	gss_delete_sec_context(&minor, &i, GSS_C_NO_BUFFER);
}

/* identify gets from Go who the server is. */
static gss_name_t identify(void)
{
	goserver_identity id;
	char text[GOSERVER_TEXT], service[] = "host", host[] = "server.test";
	/* First of all, Go is told which library is C's. */
	must(goserver_load((void *)gss_wrap, text, sizeof text) == GSS_S_COMPLETE, text);
	must(goserver_acquire(service, host, &id) == GSS_S_COMPLETE, id.error);
	credential = id.credential;
	return id.name;
}

/* import makes the same name in C. */
static gss_name_t import(void)
{
	OM_uint32 minor;
	gss_buffer_desc text = {16, "host@server.test"};
	gss_name_t name = GSS_C_NO_NAME;
	must(gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &name) == GSS_S_COMPLETE, "gss_import_name");
	return name;
}

int main(int argc, char **argv)
{
	const char *mode = argc == 2 ? argv[1] : "";
	char name[MAX_NAME];
	OM_uint32 minor;
	gss_name_t self;
	int sure = strcmp(mode, "unsure") != 0;
	must(!sure || strcmp(mode, "serve") == 0 || strcmp(mode, "refuse") == 0, "usage: server serve|refuse|unsure");
	self = sure ? identify() : import();
	must(print_name(self, name), "the service's name");
	printf("service %s\n", name);
	if (!sure)
		unsure(self);
	else if (strcmp(mode, "serve") == 0)
		listen_and_serve();
	else
		refuse(self);
	gss_release_name(&minor, &self);
	if (credential != GSS_C_NO_CREDENTIAL)
		gss_release_cred(&minor, &credential);
	print_libraries();
	printf("live %lld\n", (long long)goserver_live());
	return failed > 0;
}
