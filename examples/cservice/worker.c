//go:build ignore

/* A C worker for an acceptor written in Go (front): doc.go tells about it.
 *
 * Descriptor 3 is a Unix stream socket that it was started with. What comes there is
 * the context of a client, as gss_export_sec_context made it, in a frame, with the
 * descriptor of the connection. The answer is two frames: what C has seen of the
 * client, or why the context was refused; and when the client has said all, the
 * context again, exported here. It is empty if there is none.
 */
#include "wire.h"

#define SOCKET 3 /* the first that exec.Cmd.ExtraFiles passes on */

/* receive_context returns 0 when there is no more to come. */
static int receive_context(gss_buffer_desc *token, int *fd)
{
	uint32_t n;
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {&n, sizeof n};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *c;
	ssize_t got;
	do
		got = recvmsg(SOCKET, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return 0;
	c = CMSG_FIRSTHDR(&message);
	if (got != sizeof n || (message.msg_flags & MSG_CTRUNC) || !c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int))) {
		fprintf(stderr, "worker: not a context\n");
		exit(1);
	}
	memcpy(fd, CMSG_DATA(c), sizeof *fd);
	token->length = ntohl(n);
	token->value = token->length <= MAX_TOKEN ? malloc(token->length + 1) : NULL;
	if (!token->value || !read_all(SOCKET, token->value, token->length)) {
		fprintf(stderr, "worker: a context that was cut\n");
		exit(1);
	}
	return 1;
}

static void answer(const void *text, size_t n)
{
	gss_buffer_desc frame = {n, (void *)text};
	if (!send_frame(SOCKET, &frame)) {
		fprintf(stderr, "worker: nobody waits for the answer\n");
		exit(1);
	}
}

/* report answers what C sees of the client. */
static int report(gss_ctx_id_t ctx)
{
	OM_uint32 major, minor, flags = 0;
	gss_name_t peer = GSS_C_NO_NAME;
	char name[MAX_NAME], text[MAX_NAME + 16];
	int open = 0, ok;
	major = gss_inquire_context(&minor, ctx, &peer, NULL, NULL, NULL, &flags, NULL, &open);
	if (GSS_ERROR(major) || !open)
		return complain("gss_inquire_context", major, minor);
	ok = print_name(peer, name);
	gss_release_name(&minor, &peer);
	if (ok)
		answer(text, snprintf(text, sizeof text, "%s %x", name, (unsigned)flags));
	return ok;
}

/* echo is the service: it ends when the client has said all. */
static int echo(int fd, gss_ctx_id_t ctx)
{
	for (;;) {
		OM_uint32 minor;
		gss_buffer_desc message;
		int ok = receive(fd, ctx, &message), over = message.length == 0;
		if (ok && !over)
			ok = say(fd, ctx, message.value, message.length);
		gss_release_buffer(&minor, &message);
		if (!ok || over)
			return ok;
	}
}

static void work(gss_buffer_desc *token, int fd)
{
	OM_uint32 major, minor;
	gss_ctx_id_t ctx = GSS_C_NO_CONTEXT;
	gss_buffer_desc exported = GSS_C_EMPTY_BUFFER;
	major = gss_import_sec_context(&minor, token, &ctx);
	wipe(token->value, token->length); /* it has the keys */
	free(token->value);
	if (GSS_ERROR(major)) {
		complain("gss_import_sec_context", major, minor);
		answer("gss_import_sec_context", 22);
		answer("", 0);
		return;
	}
	if (!report(ctx))
		answer("gss_inquire_context", 19);
	else if (echo(fd, ctx)) {
		major = gss_export_sec_context(&minor, &ctx, &exported);
		if (GSS_ERROR(major))
			complain("gss_export_sec_context", major, minor);
	}
	answer(exported.value, exported.length);
	if (exported.length > 0)
		wipe(exported.value, exported.length);
	gss_release_buffer(&minor, &exported);
	if (ctx != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &ctx, GSS_C_NO_BUFFER);
}

int main(void)
{
	gss_buffer_desc token;
	int fd;
	while (receive_context(&token, &fd)) {
		work(&token, fd);
		close(fd);
	}
	print_libraries();
	return 0;
}
