/*
 * A GSS-API library for tests: it does what it is told to, faults included.
 *
 * The toy mechanism behind it works: contexts are established, messages are
 * sealed and checked, contexts are exported and imported. It protects nothing.
 *
 * FAKEGSS tells each call how to misbehave: items such as "export=fail-keep"
 * or "fail=gss_wrap", separated by ";". The items are listed in faults below; one that
 * is not listed there aborts, so that a misspelt test cannot pass.
 * FAKEGSS_LOG names a file that gets a line for every call.
 * FAKEGSS_GATE names a FIFO: a call that is told to block returns when somebody
 * opens it for writing.
 *
 * The types and prototypes are those of shim.h. No other library is used.
 */
#define GSSGO_CHECKHEADER 1
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define FAKE_DECLARE(ret, name, args) ret name args;
GSSGO_TABLE(FAKE_DECLARE)

static const char *const faults[] = {
    "acquire=fail",            /* FAILURE with a minor status that has a text */
    "acquire=block",           /* waits for FAKEGSS_GATE */
    "store=fail-env",          /* FAILURE, after elements and environment were made */
    "duplicate=fail-handle",   /* FAILURE, after a credential was made */
    "duplicate=null",          /* COMPLETE without a credential */
    "destroy=fail",            /* FAILURE, the credential is kept */
    "neg=fail-set",            /* FAILURE, with a set */
    "init=weird",              /* an ASN.1 error code as major status, with the CONTINUE_NEEDED bit */
    "init=notgranted",         /* GSS_C_MUTUAL_FLAG is missing in the flags of the context */
    "init=notrans",            /* GSS_C_TRANS_FLAG is */
    "init=fail-token",         /* FAILURE, with a token for the peer */
    "init=null",               /* COMPLETE without a context */
    "init=dup",                /* established, and DUPLICATE_TOKEN */
    "init=nomech",             /* does not tell the mechanism */
    "init=continue-forever",   /* a token and CONTINUE_NEEDED on each leg */
    "accept=weird",            /* as init=weird */
    "accept=notrans",          /* as init=notrans */
    "accept=fail-token",       /* as init=fail-token */
    "accept=null",             /* as init=null */
    "accept=dup",              /* as init=dup */
    "accept=old",              /* established, and OLD_TOKEN */
    "accept=nomech",           /* as init=nomech */
    "accept=continue-forever", /* as init=continue-forever; any token will do */
    "wrap=noconf",             /* not encrypted although asked for */
    "wrap=empty-fail",         /* FAILURE, with a buffer of no length that is to be released */
    "unwrap=unseq",            /* the message, and that supplementary status */
    "unwrap=gap",
    "unwrap=dup",
    "unwrap=old",
    "unwrap=dup-nodata",       /* the status, and no message: Heimdal 7.8 */
    "unwrap=noconf",           /* says that the message was not encrypted */
    "iov=noconf",              /* messages in parts: not encrypted although asked for */
    "iov=untouched",           /* COMPLETE, and nothing was done */
    "iov=longer",              /* a part is longer than it was */
    "iov=shorter",             /* a part is shorter than what was made */
    "iov=huge",                /* a part has the length SIZE_MAX */
    "iov=64k",                 /* a part has 64 KiB, which is to be believed of a header that is measured */
    "iov=64k+1",               /* ... and this is not */
    "iov=elsewhere",           /* a part is other memory, which is not to be released */
    "iov=null",                /* a part is no memory, and has its length yet */
    "iov=allocated",           /* a part was allocated although nobody asked for that */
    "iov=flag",                /* the last part is said to have been, and is what was given */
    "iov=fail-allocated",      /* FAILURE, and a part that was allocated */
    "verify=unseq",
    "verify=gap",
    "verify=dup",
    "verify=old",
    "export=fail-keep",        /* FAILURE, the context is kept */
    "export=fail-null",        /* FAILURE, the context is gone */
    "export=unavailable",      /* UNAVAILABLE, nothing is touched: GNU gss 1.0.4 */
    "export=empty",            /* COMPLETE and an empty token, the context is gone */
    "export=oidonly",          /* COMPLETE and only the token's header, the context is gone */
    "export=keep",             /* COMPLETE and a token, but the handle is not NULL */
    "import=fail-handle",      /* FAILURE after a context was made */
    "import=null",             /* COMPLETE without a context */
    "option=null",             /* COMPLETE, and the context is gone: RFC 2744 does not know the call, its handle may change */
    "option=fail-null",        /* FAILURE, and the context is gone */
    "inquire=expired",         /* gss_inquire_context answers CONTEXT_EXPIRED and no names: MIT 1.20 */
    "inquire=nomech",          /* gss_inquire_context does not tell the mechanism */
    "inquire=lifetime0",       /* gss_inquire_context answers COMPLETE and no lifetime: Heimdal 7.8 */
    "time=expired",            /* gss_context_time answers CONTEXT_EXPIRED */
    "release=fail",            /* what releases does so, answers FAILURE and leaves the handle as it was */
    "display=endless",         /* the message context never becomes 0 */
    "display=huge",            /* a message of a mebibyte */
    "display=fail",            /* no text at all */
};

/* "fail=name,name": FAILURE with a text, nothing else is touched. "block=name,name": waits for FAKEGSS_GATE. */
static const char *const listed[] = {"fail=", "block="};

static const char *const functions[] = {
#define FAKE_NAME(ret, name, args) #name,
    GSSGO_TABLE(FAKE_NAME)
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
    S_COMPLETE = 0,
    S_CONTINUE_NEEDED = 1,
    S_DUPLICATE = 2,
    S_OLD = 4,
    S_UNSEQ = 8,
    S_GAP = 16,
    S_BAD_MECH = 1 << 16,
    S_BAD_NAME = 2 << 16,
    S_BAD_BINDINGS = 4 << 16,
    S_BAD_STATUS = 5 << 16,
    S_BAD_SIG = 6 << 16,
    S_NO_CRED = 7 << 16,
    S_NO_CONTEXT = 8 << 16,
    S_DEFECTIVE_TOKEN = 9 << 16,
    S_CONTEXT_EXPIRED = 12 << 16,
    S_FAILURE = 13 << 16,
    S_UNAVAILABLE = 16 << 16,
    S_NAME_NOT_MN = 18 << 16,
    S_WEIRD = 0x6EDA3601,
};

enum { DELEG = 1, MUTUAL = 2, REPLAY = 4, SEQUENCE = 8, TRANS = 0x100, CHANNEL_BOUND = 0x800 };

enum { LIFETIME = 3600 };

/* ---- what is told ---- */

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "fakegss: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static int is_item(const char *item, size_t n, const char *name) { return strlen(name) == n && memcmp(item, name, n) == 0; }

/* Is name among the comma-separated names? */
static int among(const char *names, size_t n, const char *name) {
    const char *end = names + n;
    while (names < end) {
        const char *comma = memchr(names, ',', (size_t)(end - names));
        size_t len = (size_t)((comma ? comma : end) - names);
        if (is_item(names, len, name))
            return 1;
        names += len + 1;
    }
    return 0;
}

static int known_functions(const char *names, size_t n) {
    const char *end = names + n;
    do {
        const char *comma = memchr(names, ',', (size_t)(end - names));
        size_t i, len = (size_t)((comma ? comma : end) - names);
        for (i = 0; i < COUNT(functions) && !is_item(names, len, functions[i]); i++)
            ;
        if (i == COUNT(functions))
            return 0;
        names += len + 1;
    } while (names <= end);
    return 1;
}

static int known(const char *item, size_t n) {
    size_t i;
    for (i = 0; i < COUNT(faults); i++)
        if (is_item(item, n, faults[i]))
            return 1;
    for (i = 0; i < COUNT(listed); i++) {
        size_t p = strlen(listed[i]);
        if (n > p && memcmp(item, listed[i], p) == 0)
            return known_functions(item + p, n - p);
    }
    return 0;
}

/* Was this fault asked for, or this function, for a fault that ends in "="? */
static int told(const char *fault, const char *function) {
    const char *s = getenv("FAKEGSS");
    int yes = 0;
    while (s && *s) {
        size_t n = strcspn(s, ";"), p = strlen(fault);
        if (!known(s, n))
            die("FAKEGSS has an unknown item %.*s", (int)n, s);
        if (function ? n > p && memcmp(s, fault, p) == 0 && among(s + p, n - p, function) : is_item(s, n, fault))
            yes = 1;
        s += n;
        s += *s == ';';
    }
    return yes;
}

/* ---- the log ---- */

static atomic_int live_buffers, live_contexts, live_names, live_creds, live_sets;

/* One write per line: lines of several threads do not mix. */
static void log_line(const char *line) {
    const char *file = getenv("FAKEGSS_LOG");
    int fd;
    if (!file || !*file)
        return;
    fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        die("cannot write the log %s: %s", file, strerror(errno));
    close(fd);
}

/* The last line is the last count: nobody counts before another one's line is written. */
static void log_live(void) {
    static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
    char line[160];
    pthread_mutex_lock(&turn);
    snprintf(line, sizeof line, "live buffers=%d contexts=%d names=%d creds=%d sets=%d\n", atomic_load(&live_buffers),
             atomic_load(&live_contexts), atomic_load(&live_names), atomic_load(&live_creds), atomic_load(&live_sets));
    log_line(line);
    pthread_mutex_unlock(&turn);
}

/* Texts for the log, good until the same slot is asked for again. */
static _Thread_local char slots[4][1024];

/* Bytes as one word: what is not a visible character is %XX. */
static const char *word(int slot, const void *p, size_t n) {
    char *out = slots[slot];
    size_t i, at = 0;
    for (i = 0; i < n && at + 4 < sizeof slots[0]; i++) {
        unsigned char c = ((const unsigned char *)p)[i];
        if (c > ' ' && c < 127 && c != '%')
            out[at++] = (char)c;
        else
            at += (size_t)snprintf(out + at, 4, "%%%02X", c);
    }
    out[at] = 0;
    return out;
}

static const char *dotted(int slot, gss_OID oid) {
    char *out = slots[slot];
    const unsigned char *p;
    unsigned long arc = 0;
    size_t i, at = 0;
    if (!oid)
        return "NULL";
    p = oid->elements;
    out[0] = 0;
    for (i = 0; i < oid->length && at + 24 < sizeof slots[0]; i++) {
        arc = arc << 7 | (p[i] & 0x7f);
        if (p[i] & 0x80)
            continue;
        if (at == 0)
            at += (size_t)snprintf(out, sizeof slots[0], "%lu.%lu", arc < 80 ? arc / 40 : 2, arc < 80 ? arc % 40 : arc - 80);
        else
            at += (size_t)snprintf(out + at, sizeof slots[0] - at, ".%lu", arc);
        arc = 0;
    }
    return out;
}

/* NULL, empty or the length. */
static const char *length(int slot, gss_buffer_t b) {
    if (!b)
        return "NULL";
    if (!b->length)
        return "empty";
    snprintf(slots[slot], sizeof slots[0], "%zu", b->length);
    return slots[slot];
}

static const char *members(int slot, gss_OID_set set) {
    char *out = slots[slot];
    size_t i, at = 0;
    if (!set)
        return "NULL";
    out[0] = 0;
    for (i = 0; i < set->count && at < sizeof slots[0]; i++)
        at += (size_t)snprintf(out + at, sizeof slots[0] - at, "%s%s", i ? "," : "", dotted(3, &set->elements[i]));
    return out;
}

/* ---- errors: their text is kept per thread, as in MIT and Heimdal ---- */

static _Thread_local OM_uint32 last_minor;
static _Thread_local char last_text[256];

enum { MINOR_TOLD = 4711, MINOR_ARGUMENT, MINOR_TOKEN, MINOR_STATE };

static OM_uint32 fail(OM_uint32 *minor, OM_uint32 major, OM_uint32 code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(last_text, sizeof last_text, format, args);
    va_end(args);
    last_minor = *minor = code;
    return major;
}

static void block(void) {
    const char *gate = getenv("FAKEGSS_GATE");
    int fd;
    if (!gate)
        die("told to block without FAKEGSS_GATE");
    log_line("blocked\n");
    do
        fd = open(gate, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        die("cannot open the gate %s: %s", gate, strerror(errno));
    close(fd);
}

/* Every call begins here: it is logged, and blocks or fails if it is told to. Then the result is true. */
static void (*log_function)(void *, int, const char *, va_list);
static void *log_context;

static void say(int level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (log_function)
        log_function(log_context, level, format, args);
    va_end(args);
}

static int enter(OM_uint32 *minor, const char *function, const char *format, ...) {
    char line[4096];
    int n = snprintf(line, sizeof line, "%s", function);
    va_list args;
    va_start(args, format);
    n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    if (n > (int)sizeof line - 2)
        n = sizeof line - 2;
    strcpy(line + n, "\n");
    log_line(line);
    say(n > 1000 ? 10 : 1, "called %s with\n%s", function, line + strlen(function));
    if (!minor)
        die("%s: minor_status is NULL", function);
    *minor = 0;
    if (told("block=", function))
        block();
    if (told("fail=", function)) {
        fail(minor, 0, MINOR_TOLD, "%s was told to fail", function);
        return 1;
    }
    return 0;
}

/* ---- memory ---- */

static void *must(void *p) {
    if (!p)
        die("out of memory");
    return p;
}

static void *copy(const void *p, size_t n) {
    void *c = must(malloc(n + 1));
    if (n)
        memcpy(c, p, n);
    ((char *)c)[n] = 0;
    return c;
}

static void give(gss_buffer_t out, const void *p, size_t n) {
    if (!out)
        die("an output buffer is NULL");
    out->length = n;
    out->value = copy(p, n);
    atomic_fetch_add(&live_buffers, 1);
}

static int same_oid(gss_OID a, gss_OID b) { return a->length == b->length && memcmp(a->elements, b->elements, a->length) == 0; }

static gss_OID_desc krb5 = {9, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};
static gss_OID_desc spnego = {6, "\x2b\x06\x01\x05\x05\x02"};
static gss_OID_desc nt_user = {10, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x01"};
static gss_OID_desc nt_host = {10, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04"};
static gss_OID_desc nt_export = {6, "\x2b\x06\x01\x05\x06\x04"};

/* The mechanism that is meant, in static memory; NULL if there is no such. */
static gss_OID mechanism(gss_OID oid) {
    if (!oid || same_oid(oid, &krb5))
        return &krb5;
    return same_oid(oid, &spnego) ? &spnego : NULL;
}

/* ---- bytes of tokens ---- */

typedef struct {
    unsigned char *p;
    size_t n;
} writer;

static void put(writer *w, const void *p, size_t n) {
    w->p = must(realloc(w->p, w->n + n + 1));
    if (n)
        memcpy(w->p + w->n, p, n);
    w->n += n;
}

static void put_number(writer *w, uint64_t v, int bytes) {
    while (bytes--) {
        unsigned char c = (unsigned char)(v >> (8 * bytes));
        put(w, &c, 1);
    }
}

static void put_bytes(writer *w, const void *p, size_t n) {
    put_number(w, n, 4);
    put(w, p, n);
}

typedef struct {
    const unsigned char *p;
    size_t n;
    int bad; /* there was less than was asked for */
} reader;

static const unsigned char *get(reader *r, size_t n) {
    const unsigned char *p = r->p;
    if (r->bad || n > r->n) {
        r->bad = 1;
        return NULL;
    }
    r->p += n;
    r->n -= n;
    return p;
}

static uint64_t get_number(reader *r, int bytes) {
    const unsigned char *p = get(r, (size_t)bytes);
    uint64_t v = 0;
    while (p && bytes--)
        v = v << 8 | *p++;
    return v;
}

static char *get_bytes(reader *r, size_t *n) {
    const unsigned char *p;
    *n = get_number(r, 4);
    p = get(r, *n);
    return p ? copy(p, *n) : NULL;
}

static uint64_t checksum(uint64_t sum, const void *p, size_t n) {
    const unsigned char *c = p;
    while (n--)
        sum = (sum ^ *c++) * 1099511628211u;
    return sum;
}

/* ---- handles: their first word tells what they are, and that they are alive ---- */

enum { NAME = 0x4e414d45, CRED = 0x43524544, CONTEXT = 0x43545854, DEAD = 0x44454144 };

struct gssgo_name_handle {
    OM_uint32 what;
    char *text;
    size_t len;
    gss_OID_desc type;
    gss_OID mech; /* of a mechanism name */
};

struct gssgo_cred_handle {
    OM_uint32 what;
    char *name; /* NULL: the default */
    size_t len;
    int usage;
    gss_OID_set neg; /* of gss_set_neg_mechs */
};

struct gssgo_ctx_handle {
    OM_uint32 what;
    int initiator, open;
    OM_uint32 flags;
    uint64_t id;              /* shared with the peer: tokens of other contexts are refused */
    uint64_t sent, expected;  /* sequence numbers */
    uint64_t seen;            /* bit i: expected-1-i was received */
    gss_OID mech;
    char *source, *target;
    size_t source_len, target_len;
};

static void check_name(const char *function, gss_name_t n) {
    if (n && n->what != NAME)
        die("%s: not a live name", function);
}

static void check_cred(const char *function, gss_cred_id_t c) {
    if (c && c->what != CRED)
        die("%s: not a live credential", function);
}

static void check_context(const char *function, gss_ctx_id_t c) {
    if (c && c->what != CONTEXT)
        die("%s: not a live context", function);
}

static gss_name_t new_name(const void *text, size_t len, gss_OID type, gss_OID mech) {
    gss_name_t n = must(calloc(1, sizeof *n));
    n->what = NAME;
    n->text = copy(text, len);
    n->len = len;
    n->type.length = type->length;
    n->type.elements = copy(type->elements, type->length);
    n->mech = mech;
    atomic_fetch_add(&live_names, 1);
    return n;
}

static void free_name(gss_name_t n) {
    n->what = DEAD;
    free(n->text);
    free(n->type.elements);
    free(n);
    atomic_fetch_sub(&live_names, 1);
}

static gss_cred_id_t new_cred(gss_name_t name, int usage) {
    gss_cred_id_t c = must(calloc(1, sizeof *c));
    c->what = CRED;
    c->usage = usage;
    if (name) {
        c->name = copy(name->text, name->len);
        c->len = name->len;
    }
    atomic_fetch_add(&live_creds, 1);
    return c;
}

static void free_set(gss_OID_set set) {
    size_t i;
    for (i = 0; i < set->count; i++)
        free(set->elements[i].elements);
    free(set->elements);
    free(set);
    atomic_fetch_sub(&live_sets, 1);
}

static void free_cred(gss_cred_id_t c) {
    c->what = DEAD;
    if (c->neg)
        free_set(c->neg);
    free(c->name);
    free(c);
    atomic_fetch_sub(&live_creds, 1);
}

static gss_ctx_id_t new_context(int initiator) {
    static atomic_uint made;
    gss_ctx_id_t c = must(calloc(1, sizeof *c));
    c->what = CONTEXT;
    c->initiator = initiator;
    c->id = (uint64_t)getpid() << 32 | atomic_fetch_add(&made, 1);
    c->mech = &krb5;
    atomic_fetch_add(&live_contexts, 1);
    return c;
}

static void free_context(gss_ctx_id_t c) {
    c->what = DEAD;
    free(c->source);
    free(c->target);
    free(c);
    atomic_fetch_sub(&live_contexts, 1);
}

static gss_OID_set new_set(void) {
    gss_OID_set set = must(calloc(1, sizeof *set));
    atomic_fetch_add(&live_sets, 1);
    return set;
}

static void add_member(gss_OID_set set, gss_OID oid) {
    gss_OID e = must(realloc(set->elements, (set->count + 1) * sizeof *e));
    set->elements = e;
    e[set->count].length = oid->length;
    e[set->count].elements = copy(oid->elements, oid->length);
    set->count++;
}

static gss_OID_set mechanisms(void) {
    gss_OID_set set = new_set();
    add_member(set, &krb5);
    add_member(set, &spnego);
    return set;
}

/* ---- names ---- */

static const char default_name[] = "user@FAKE";

OM_uint32 gss_import_name(OM_uint32 *minor, gss_buffer_t in, gss_OID type, gss_name_t *out) {
    reader r;
    if (enter(minor, "gss_import_name", " name=%s type=%s", in ? word(0, in->value, in->length) : "NULL", dotted(1, type)))
        return S_FAILURE;
    if (!in || !in->length)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "the name is empty");
    if (!type || !same_oid(type, &nt_export)) {
        *out = new_name(in->value, in->length, type ? type : &nt_user, NULL);
        return S_COMPLETE;
    }
    /* RFC 2743, 3.2 */
    r = (reader){in->value, in->length, 0};
    if (get_number(&r, 2) == 0x0401) {
        size_t oid = get_number(&r, 2), len;
        char *text;
        get(&r, oid);
        text = get_bytes(&r, &len);
        if (text) {
            *out = new_name(text, len, &nt_user, &krb5);
            free(text);
            return S_COMPLETE;
        }
    }
    return fail(minor, S_BAD_NAME, MINOR_TOKEN, "not an exported name");
}

OM_uint32 gss_display_name(OM_uint32 *minor, gss_name_t name, gss_buffer_t out, gss_OID *type) {
    check_name("gss_display_name", name);
    if (enter(minor, "gss_display_name", ""))
        return S_FAILURE;
    if (!name)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    give(out, name->text, name->len);
    if (type)
        *type = &name->type;
    return S_COMPLETE;
}

OM_uint32 gss_compare_name(OM_uint32 *minor, gss_name_t a, gss_name_t b, int *equal) {
    check_name("gss_compare_name", a);
    check_name("gss_compare_name", b);
    if (enter(minor, "gss_compare_name", ""))
        return S_FAILURE;
    if (!a || !b)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    *equal = a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
    return S_COMPLETE;
}

OM_uint32 gss_duplicate_name(OM_uint32 *minor, gss_name_t name, gss_name_t *out) {
    check_name("gss_duplicate_name", name);
    if (enter(minor, "gss_duplicate_name", ""))
        return S_FAILURE;
    if (!name)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    *out = new_name(name->text, name->len, &name->type, name->mech);
    return S_COMPLETE;
}

OM_uint32 gss_canonicalize_name(OM_uint32 *minor, gss_name_t name, gss_OID mech, gss_name_t *out) {
    check_name("gss_canonicalize_name", name);
    if (enter(minor, "gss_canonicalize_name", " mech=%s", dotted(0, mech)))
        return S_FAILURE;
    if (!name)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    if (!mechanism(mech))
        return fail(minor, S_BAD_MECH, MINOR_ARGUMENT, "no such mechanism");
    *out = new_name(name->text, name->len, &name->type, mechanism(mech));
    return S_COMPLETE;
}

OM_uint32 gss_export_name(OM_uint32 *minor, gss_name_t name, gss_buffer_t out) {
    writer w = {NULL, 0};
    check_name("gss_export_name", name);
    if (enter(minor, "gss_export_name", ""))
        return S_FAILURE;
    if (!name)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    if (!name->mech)
        return fail(minor, S_NAME_NOT_MN, MINOR_ARGUMENT, "not a mechanism name");
    put_number(&w, 0x0401, 2);
    put_number(&w, name->mech->length + 2, 2);
    put_number(&w, 0x0600 | name->mech->length, 2);
    put(&w, name->mech->elements, name->mech->length);
    put_bytes(&w, name->text, name->len);
    give(out, w.p, w.n);
    free(w.p);
    return S_COMPLETE;
}

/* What a release answers once it is done: told to fail, it leaves the handle as it was. */
static OM_uint32 released(OM_uint32 *minor, const char *function) {
    log_live();
    if (told("release=fail", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "%s was told to fail", function);
    return S_COMPLETE;
}

OM_uint32 gss_release_name(OM_uint32 *minor, gss_name_t *name) {
    OM_uint32 major;
    check_name("gss_release_name", *name);
    if (enter(minor, "gss_release_name", ""))
        return S_FAILURE;
    if (*name)
        free_name(*name);
    major = released(minor, "gss_release_name");
    if (major == S_COMPLETE)
        *name = NULL;
    return major;
}

/* ---- buffers, sets, status ---- */

OM_uint32 gss_release_buffer(OM_uint32 *minor, gss_buffer_t b) {
    OM_uint32 major;
    size_t i, left = 0; /* bytes that are not 0 */
    for (i = 0; b && b->value && i < b->length; i++)
        left += ((unsigned char *)b->value)[i] != 0;
    if (enter(minor, "gss_release_buffer", " len=%s wiped=%s", length(0, b), left ? "no" : "yes"))
        return S_FAILURE;
    if (b && b->value) {
        free(b->value);
        atomic_fetch_sub(&live_buffers, 1);
    }
    major = released(minor, "gss_release_buffer");
    if (b && major == S_COMPLETE) {
        b->value = NULL;
        b->length = 0;
    }
    return major;
}

OM_uint32 gss_create_empty_oid_set(OM_uint32 *minor, gss_OID_set *set) {
    if (enter(minor, "gss_create_empty_oid_set", ""))
        return S_FAILURE;
    *set = new_set();
    return S_COMPLETE;
}

OM_uint32 gss_add_oid_set_member(OM_uint32 *minor, gss_OID oid, gss_OID_set *set) {
    if (enter(minor, "gss_add_oid_set_member", " oid=%s", dotted(0, oid)))
        return S_FAILURE;
    add_member(*set, oid);
    return S_COMPLETE;
}

OM_uint32 gss_test_oid_set_member(OM_uint32 *minor, gss_OID oid, gss_OID_set set, int *present) {
    size_t i;
    if (enter(minor, "gss_test_oid_set_member", " oid=%s", dotted(0, oid)))
        return S_FAILURE;
    *present = 0;
    for (i = 0; i < set->count; i++)
        *present |= same_oid(oid, &set->elements[i]);
    return S_COMPLETE;
}

OM_uint32 gss_release_oid_set(OM_uint32 *minor, gss_OID_set *set) {
    OM_uint32 major;
    if (enter(minor, "gss_release_oid_set", ""))
        return S_FAILURE;
    if (*set)
        free_set(*set);
    major = released(minor, "gss_release_oid_set");
    if (major == S_COMPLETE)
        *set = NULL;
    return major;
}

OM_uint32 gss_indicate_mechs(OM_uint32 *minor, gss_OID_set *set) {
    if (enter(minor, "gss_indicate_mechs", ""))
        return S_FAILURE;
    *set = mechanisms();
    return S_COMPLETE;
}

OM_uint32 gss_inquire_names_for_mech(OM_uint32 *minor, gss_OID mech, gss_OID_set *set) {
    if (enter(minor, "gss_inquire_names_for_mech", " mech=%s", dotted(0, mech)))
        return S_FAILURE;
    if (!mechanism(mech))
        return fail(minor, S_BAD_MECH, MINOR_ARGUMENT, "no such mechanism");
    *set = new_set();
    add_member(*set, &nt_user);
    add_member(*set, &nt_host);
    add_member(*set, &nt_export);
    return S_COMPLETE;
}

OM_uint32 gss_inquire_mechs_for_name(OM_uint32 *minor, gss_name_t name, gss_OID_set *set) {
    check_name("gss_inquire_mechs_for_name", name);
    if (enter(minor, "gss_inquire_mechs_for_name", ""))
        return S_FAILURE;
    if (!name)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no name");
    *set = mechanisms();
    return S_COMPLETE;
}

/* The text of a minor status is known on the thread of the failing call only. Does not set it: it is no failing call. */
OM_uint32 gss_display_status(OM_uint32 *minor, OM_uint32 code, int type, gss_OID mech, OM_uint32 *context, gss_buffer_t out) {
    char text[sizeof last_text];
    OM_uint32 kept = last_minor;
    strcpy(text, last_text);
    if (enter(minor, "gss_display_status", " code=%u type=%d mech=%s context=%u", code, type, dotted(0, mech), *context))
        return S_FAILURE;
    last_minor = kept;
    if (told("display=fail", NULL))
        return S_BAD_STATUS;
    if (told("display=huge", NULL)) {
        size_t n = 1 << 20;
        char *huge = must(malloc(n));
        memset(huge, 'x', n);
        give(out, huge, n);
        free(huge);
        *context = 0;
        return S_COMPLETE;
    }
    if (type == 1)
        snprintf(text, sizeof text, "major status 0x%08x", code);
    else if (code == 0)
        strcpy(text, "Success");
    else if (code != last_minor)
        snprintf(text, sizeof text, "minor status %u is not of this thread", code);
    give(out, text, strlen(text));
    *context = told("display=endless", NULL) ? *context + 1 : 0;
    return S_COMPLETE;
}

/* ---- credentials ---- */

static OM_uint32 acquired(OM_uint32 *minor, gss_name_t name, int usage, gss_cred_id_t *out, gss_OID_set *mechs, OM_uint32 *lifetime) {
    if (told("acquire=block", NULL))
        block();
    if (told("acquire=fail", NULL))
        return fail(minor, S_NO_CRED, MINOR_TOLD, "the credential cache is empty, as it was told to be");
    *out = new_cred(name, usage);
    if (mechs)
        *mechs = mechanisms();
    if (lifetime)
        *lifetime = LIFETIME;
    return S_COMPLETE;
}

static const char *desired(gss_name_t name) { return name ? word(0, name->text, name->len) : "NULL"; }

OM_uint32 gss_acquire_cred(OM_uint32 *minor, gss_name_t name, OM_uint32 time_req, gss_OID_set mechs, gss_cred_usage_t usage,
                           gss_cred_id_t *out, gss_OID_set *actual, OM_uint32 *lifetime) {
    check_name("gss_acquire_cred", name);
    if (enter(minor, "gss_acquire_cred", " desired_name=%s time_req=%u mechs=%s usage=%d", desired(name), time_req, members(1, mechs), usage))
        return S_FAILURE;
    return acquired(minor, name, usage, out, actual, lifetime);
}

/* The pairs of a store. */
static const char *pairs_of(const gss_key_value_set_desc *store) {
    static _Thread_local char pairs[1024];
    size_t at = 0;
    OM_uint32 i;
    if (!store)
        return "NULL";
    pairs[0] = 0;
    for (i = 0; i < store->count && at < sizeof pairs; i++) {
        const char *key = store->elements[i].key, *value = store->elements[i].value;
        at += (size_t)snprintf(pairs + at, sizeof pairs - at, "%s%s:%s", i ? "," : "", word(2, key, strlen(key)), word(3, value, strlen(value)));
    }
    return pairs;
}

OM_uint32 gss_acquire_cred_from(OM_uint32 *minor, gss_name_t name, OM_uint32 time_req, gss_OID_set mechs, gss_cred_usage_t usage,
                                gss_key_value_set_desc *store, gss_cred_id_t *out, gss_OID_set *actual, OM_uint32 *lifetime) {
    check_name("gss_acquire_cred_from", name);
    if (enter(minor, "gss_acquire_cred_from", " desired_name=%s time_req=%u mechs=%s usage=%d store=%s", desired(name), time_req, members(1, mechs), usage, pairs_of(store)))
        return S_FAILURE;
    return acquired(minor, name, usage, out, actual, lifetime);
}

OM_uint32 gss_acquire_cred_with_password(OM_uint32 *minor, gss_name_t name, gss_buffer_t password, OM_uint32 time_req, gss_OID_set mechs,
                                         gss_cred_usage_t usage, gss_cred_id_t *out, gss_OID_set *actual, OM_uint32 *lifetime) {
    check_name("gss_acquire_cred_with_password", name);
    if (enter(minor, "gss_acquire_cred_with_password", " desired_name=%s password=%s time_req=%u mechs=%s usage=%d", desired(name), length(2, password), time_req, members(1, mechs), usage))
        return S_FAILURE;
    return acquired(minor, name, usage, out, actual, lifetime);
}

OM_uint32 gss_add_cred(OM_uint32 *minor, gss_cred_id_t in, gss_name_t name, gss_OID mech, gss_cred_usage_t usage, OM_uint32 initiator,
                       OM_uint32 acceptor, gss_cred_id_t *out, gss_OID_set *mechs, OM_uint32 *initiator_time, OM_uint32 *acceptor_time) {
    check_cred("gss_add_cred", in);
    check_name("gss_add_cred", name);
    if (enter(minor, "gss_add_cred", " cred=%s desired_name=%s mech=%s usage=%d time_req=%u acceptor_time_req=%u", in ? "given" : "NULL", desired(name), dotted(1, mech), usage, initiator, acceptor))
        return S_FAILURE;
    if (acceptor_time)
        *acceptor_time = LIFETIME;
    return acquired(minor, name, usage, out, mechs, initiator_time);
}

OM_uint32 gss_inquire_cred(OM_uint32 *minor, gss_cred_id_t cred, gss_name_t *name, OM_uint32 *lifetime, gss_cred_usage_t *usage, gss_OID_set *mechs) {
    check_cred("gss_inquire_cred", cred);
    if (enter(minor, "gss_inquire_cred", " cred=%s", cred ? "given" : "NULL"))
        return S_FAILURE;
    if (name)
        *name = cred && cred->name ? new_name(cred->name, cred->len, &nt_user, &krb5) : new_name(default_name, strlen(default_name), &nt_user, &krb5);
    if (lifetime)
        *lifetime = LIFETIME;
    if (usage)
        *usage = cred ? cred->usage : 1; /* GSS_C_INITIATE */
    if (mechs)
        *mechs = mechanisms();
    return S_COMPLETE;
}

OM_uint32 gss_inquire_cred_by_mech(OM_uint32 *minor, gss_cred_id_t cred, gss_OID mech, gss_name_t *name, OM_uint32 *initiator, OM_uint32 *acceptor, gss_cred_usage_t *usage) {
    check_cred("gss_inquire_cred_by_mech", cred);
    if (enter(minor, "gss_inquire_cred_by_mech", " cred=%s mech=%s", cred ? "given" : "NULL", dotted(0, mech)))
        return S_FAILURE;
    if (!mechanism(mech))
        return fail(minor, S_BAD_MECH, MINOR_ARGUMENT, "no such mechanism");
    if (name)
        *name = cred && cred->name ? new_name(cred->name, cred->len, &nt_user, &krb5) : new_name(default_name, strlen(default_name), &nt_user, &krb5);
    if (initiator)
        *initiator = LIFETIME;
    if (acceptor)
        *acceptor = LIFETIME;
    if (usage)
        *usage = cred ? cred->usage : 1; /* GSS_C_INITIATE */
    return S_COMPLETE;
}

OM_uint32 gss_release_cred(OM_uint32 *minor, gss_cred_id_t *cred) {
    OM_uint32 major;
    check_cred("gss_release_cred", *cred);
    if (enter(minor, "gss_release_cred", ""))
        return S_FAILURE;
    if (*cred)
        free_cred(*cred);
    major = released(minor, "gss_release_cred");
    if (major == S_COMPLETE)
        *cred = NULL;
    return major;
}

/* ---- contexts ---- */

/* 0: none were given. */
static uint64_t bound(gss_channel_bindings_t cb) {
    uint64_t sum = 14695981039346656037u;
    if (!cb)
        return 0;
    sum = checksum(sum, &cb->initiator_addrtype, sizeof cb->initiator_addrtype);
    sum = checksum(sum, cb->initiator_address.value, cb->initiator_address.length);
    sum = checksum(sum, &cb->acceptor_addrtype, sizeof cb->acceptor_addrtype);
    sum = checksum(sum, cb->acceptor_address.value, cb->acceptor_address.length);
    return checksum(sum, cb->application_data.value, cb->application_data.length);
}

static const char *bindings(int slot, gss_channel_bindings_t cb) {
    if (!cb)
        return "NULL";
    snprintf(slots[slot], sizeof slots[0], "%u:%zu,%u:%zu,%zu", cb->initiator_addrtype, cb->initiator_address.length,
             cb->acceptor_addrtype, cb->acceptor_address.length, cb->application_data.length);
    return slots[slot];
}

enum { FROM_INITIATOR = 0xF1, FROM_ACCEPTOR = 0xF2, ERROR_TOKEN = 0xF3, AGAIN = 0xF4, MESSAGE = 0xF5, MIC = 0xF6 };

/* RFC 2743, 3.1, with lengths of four bytes where one does not do. */
static void put_frame(writer *w, gss_OID mech, const writer *body) {
    size_t n = 2 + mech->length + body->n;
    put_number(w, 0x60, 1);
    if (n >= 0x80)
        put_number(w, 0x84, 1);
    put_number(w, n, n < 0x80 ? 1 : 4);
    put_number(w, 6, 1);
    put_number(w, mech->length, 1);
    put(w, mech->elements, mech->length);
    put(w, body->p, body->n);
}

/* What is in the frame is left; true if it was one. */
static int get_frame(reader *r, gss_OID *mech) {
    gss_OID_desc oid;
    uint64_t n;
    if (get_number(r, 1) != 0x60)
        return 0;
    n = get_number(r, 1);
    if (n == 0x84)
        n = get_number(r, 4);
    if (r->bad || n != r->n || get_number(r, 1) != 6)
        return 0;
    oid.length = (OM_uint32)get_number(r, 1);
    oid.elements = (void *)get(r, oid.length);
    *mech = r->bad ? NULL : mechanism(&oid);
    return *mech != NULL;
}

static void give_one(gss_buffer_t out, unsigned char kind) { give(out, &kind, 1); }

/* The faults that both sides have. True: the call is over, and *major is its answer. */
static int establish_fault(int initiator, OM_uint32 *minor, OM_uint32 *major, gss_ctx_id_t *context, gss_buffer_t out) {
    if (told(initiator ? "init=weird" : "accept=weird", NULL))
        *major = S_WEIRD;
    else if (told(initiator ? "init=null" : "accept=null", NULL))
        *major = S_COMPLETE;
    else if (told(initiator ? "init=fail-token" : "accept=fail-token", NULL)) {
        give_one(out, ERROR_TOKEN);
        *major = fail(minor, S_FAILURE, MINOR_TOLD, "told to fail, with a token for the peer");
    } else if (told(initiator ? "init=continue-forever" : "accept=continue-forever", NULL)) {
        if (!*context && initiator) {
            unsigned char again = AGAIN;
            writer body = {&again, 1}, framed = {NULL, 0};
            put_frame(&framed, &krb5, &body);
            give(out, framed.p, framed.n);
            free(framed.p);
        } else
            give_one(out, AGAIN);
        if (!*context)
            *context = new_context(initiator);
        *major = S_CONTINUE_NEEDED;
    } else
        return 0;
    return 1;
}

OM_uint32 gss_init_sec_context(OM_uint32 *minor, gss_cred_id_t cred, gss_ctx_id_t *context, gss_name_t target, gss_OID mech, OM_uint32 flags,
                               OM_uint32 time_req, gss_channel_bindings_t cb, gss_buffer_t in, gss_OID *actual, gss_buffer_t out,
                               OM_uint32 *ret_flags, OM_uint32 *lifetime) {
    gss_ctx_id_t c = *context;
    OM_uint32 major;
    check_context("gss_init_sec_context", c);
    check_cred("gss_init_sec_context", cred);
    check_name("gss_init_sec_context", target);
    if (enter(minor, "gss_init_sec_context", " context=%s cred=%s target=%s mech=%s flags=0x%x time_req=%u bindings=%s input=%s", c ? "given" : "NULL",
              cred ? "given" : "NULL", desired(target), dotted(1, mech), flags, time_req, bindings(2, cb), length(3, in)))
        return S_FAILURE;
    if (establish_fault(1, minor, &major, context, out))
        return major;
    if (!target)
        return fail(minor, S_BAD_NAME, MINOR_ARGUMENT, "no target name");
    if (!mechanism(mech))
        return fail(minor, S_BAD_MECH, MINOR_ARGUMENT, "no such mechanism");
    if (!c) {
        writer w = {NULL, 0}, framed = {NULL, 0};
        c = *context = new_context(1);
        c->mech = mechanism(mech);
        c->flags = (flags & ~(OM_uint32)CHANNEL_BOUND) | TRANS;
        c->target = copy(target->text, c->target_len = target->len);
        if (cred && cred->name)
            c->source = copy(cred->name, c->source_len = cred->len);
        else
            c->source = copy(default_name, c->source_len = strlen(default_name));
        put_number(&w, FROM_INITIATOR, 1);
        put_number(&w, flags, 4);
        put_number(&w, c->id, 8);
        put_number(&w, bound(cb), 8);
        put_bytes(&w, c->source, c->source_len);
        put_bytes(&w, c->target, c->target_len);
        put_frame(&framed, c->mech, &w);
        give(out, framed.p, framed.n);
        free(framed.p);
        free(w.p);
        c->open = !(flags & MUTUAL);
    } else {
        reader r = {in ? in->value : NULL, in ? in->length : 0, 0};
        if (c->open)
            return fail(minor, S_FAILURE, MINOR_STATE, "the context is established already");
        if (get_number(&r, 1) != FROM_ACCEPTOR || get_number(&r, 8) != c->id || r.bad)
            return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "not the acceptor's token");
        c->open = 1;
    }
    if (told("init=notgranted", NULL))
        c->flags &= ~(OM_uint32)MUTUAL;
    if (told("init=notrans", NULL))
        c->flags &= ~(OM_uint32)TRANS;
    if (actual)
        *actual = told("init=nomech", NULL) ? NULL : c->mech;
    if (ret_flags)
        *ret_flags = c->flags;
    if (lifetime)
        *lifetime = LIFETIME;
    if (c->open && told("init=dup", NULL))
        return S_DUPLICATE;
    return c->open ? S_COMPLETE : S_CONTINUE_NEEDED;
}

OM_uint32 gss_accept_sec_context(OM_uint32 *minor, gss_ctx_id_t *context, gss_cred_id_t cred, gss_buffer_t in, gss_channel_bindings_t cb,
                                 gss_name_t *source, gss_OID *mech, gss_buffer_t out, OM_uint32 *ret_flags, OM_uint32 *lifetime,
                                 gss_cred_id_t *delegated) {
    gss_ctx_id_t c;
    OM_uint32 major, flags;
    uint64_t theirs, id;
    reader r = {in ? in->value : NULL, in ? in->length : 0, 0};
    gss_OID framed = NULL;
    int kind;
    check_context("gss_accept_sec_context", *context);
    check_cred("gss_accept_sec_context", cred);
    if (enter(minor, "gss_accept_sec_context", " context=%s cred=%s bindings=%s input=%s", *context ? "given" : "NULL", cred ? "given" : "NULL", bindings(0, cb), length(1, in)))
        return S_FAILURE;
    if (establish_fault(0, minor, &major, context, out))
        return major;
    if (*context)
        return fail(minor, S_FAILURE, MINOR_STATE, "the context is established already");
    if (!get_frame(&r, &framed))
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "not in the frame of an initiator's token");
    kind = (int)get_number(&r, 1);
    flags = (OM_uint32)get_number(&r, 4);
    id = get_number(&r, 8);
    theirs = get_number(&r, 8);
    if (r.bad || kind != FROM_INITIATOR)
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "not an initiator's token");
    if (cb && theirs && theirs != bound(cb))
        return fail(minor, S_BAD_BINDINGS, MINOR_TOKEN, "other channel bindings");
    c = new_context(0);
    c->id = id;
    c->mech = framed;
    c->flags = (flags & ~(OM_uint32)CHANNEL_BOUND) | TRANS | (cb && theirs ? CHANNEL_BOUND : 0);
    c->source = get_bytes(&r, &c->source_len);
    c->target = get_bytes(&r, &c->target_len);
    if (r.bad) {
        free_context(c);
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "the initiator's token is cut");
    }
    if (told("accept=notrans", NULL))
        c->flags &= ~(OM_uint32)TRANS;
    c->open = 1;
    if (flags & MUTUAL) {
        writer w = {NULL, 0};
        put_number(&w, FROM_ACCEPTOR, 1);
        put_number(&w, c->id, 8);
        give(out, w.p, w.n);
        free(w.p);
    }
    *context = c;
    if (source)
        *source = new_name(c->source, c->source_len, &nt_user, c->mech);
    if (mech)
        *mech = told("accept=nomech", NULL) ? NULL : c->mech;
    if (ret_flags)
        *ret_flags = c->flags;
    if (lifetime)
        *lifetime = LIFETIME;
    if (delegated && flags & DELEG) {
        gss_name_t name = new_name(c->source, c->source_len, &nt_user, c->mech);
        *delegated = new_cred(name, 1); /* GSS_C_INITIATE */
        free_name(name);
    }
    return told("accept=dup", NULL) ? S_DUPLICATE : told("accept=old", NULL) ? S_OLD : S_COMPLETE;
}

/* Only established contexts get past this. */
static OM_uint32 established(OM_uint32 *minor, gss_ctx_id_t c) {
    if (!c || !c->open)
        return fail(minor, S_NO_CONTEXT, MINOR_STATE, "no established context");
    return S_COMPLETE;
}

OM_uint32 gss_process_context_token(OM_uint32 *minor, gss_ctx_id_t c, gss_buffer_t in) {
    check_context("gss_process_context_token", c);
    if (enter(minor, "gss_process_context_token", " input=%s", length(0, in)))
        return S_FAILURE;
    return established(minor, c);
}

OM_uint32 gss_delete_sec_context(OM_uint32 *minor, gss_ctx_id_t *context, gss_buffer_t out) {
    OM_uint32 major;
    check_context("gss_delete_sec_context", *context);
    if (enter(minor, "gss_delete_sec_context", " side=%s output=%s", !*context ? "none" : (*context)->initiator ? "initiator" : "acceptor", out ? "given" : "NULL"))
        return S_FAILURE;
    if (*context)
        free_context(*context);
    major = released(minor, "gss_delete_sec_context");
    if (major == S_COMPLETE)
        *context = NULL;
    return major;
}

OM_uint32 gss_context_time(OM_uint32 *minor, gss_ctx_id_t c, OM_uint32 *lifetime) {
    OM_uint32 major;
    check_context("gss_context_time", c);
    if (enter(minor, "gss_context_time", ""))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    *lifetime = 0;
    if (told("time=expired", NULL))
        return fail(minor, S_CONTEXT_EXPIRED, MINOR_TOLD, "the ticket expired, as it was told to");
    *lifetime = LIFETIME;
    return S_COMPLETE;
}

OM_uint32 gss_inquire_context(OM_uint32 *minor, gss_ctx_id_t c, gss_name_t *source, gss_name_t *target, OM_uint32 *lifetime, gss_OID *mech,
                              OM_uint32 *flags, int *local, int *open) {
    int expired;
    check_context("gss_inquire_context", c);
    if (enter(minor, "gss_inquire_context", ""))
        return S_FAILURE;
    if (!c)
        return fail(minor, S_NO_CONTEXT, MINOR_STATE, "no context");
    expired = told("inquire=expired", NULL);
    if (source)
        *source = expired || !c->source ? NULL : new_name(c->source, c->source_len, &nt_user, c->mech);
    if (target)
        *target = expired || !c->target ? NULL : new_name(c->target, c->target_len, &nt_host, c->mech);
    if (mech)
        *mech = expired || told("inquire=nomech", NULL) ? NULL : c->mech;
    if (lifetime)
        *lifetime = expired || told("inquire=lifetime0", NULL) ? 0 : LIFETIME;
    if (flags)
        *flags = c->flags;
    if (local)
        *local = c->initiator;
    if (open)
        *open = c->open;
    return expired ? fail(minor, S_CONTEXT_EXPIRED, MINOR_TOLD, "the ticket expired, as it was told to") : S_COMPLETE;
}

/* ---- messages: kind, direction, encrypted, 0, sequence number, checksum; then the bytes ---- */

enum { HEADER = 20 };

static void seal(gss_ctx_id_t c, int kind, int conf, const void *p, size_t n, writer *w) {
    uint64_t number = c->sent++;
    put_number(w, (uint64_t)kind, 1);
    put_number(w, (uint64_t)c->initiator, 1);
    put_number(w, (uint64_t)conf, 1);
    put_number(w, 0, 1);
    put_number(w, number, 8);
    put_number(w, checksum(checksum(c->id, w->p, w->n), p, n), 8);
}

/* Who wraps with confidentiality cannot read his message in the token. */
static void scramble(unsigned char *p, size_t n) {
    while (n--)
        *p++ ^= 0x5a;
}

static OM_uint32 sequence(gss_ctx_id_t c, uint64_t number) {
    uint64_t back;
    if (!(c->flags & (REPLAY | SEQUENCE)))
        return S_COMPLETE;
    if (number >= c->expected) {
        uint64_t ahead = number - c->expected;
        c->seen = (ahead >= 63 ? 0 : c->seen << (ahead + 1)) | 1;
        c->expected = number + 1;
        return ahead ? S_GAP : S_COMPLETE;
    }
    back = c->expected - 1 - number;
    if (back >= 64)
        return S_OLD;
    if (c->seen >> back & 1)
        return S_DUPLICATE;
    c->seen |= (uint64_t)1 << back;
    return c->flags & SEQUENCE ? S_UNSEQ : S_COMPLETE;
}

/* Checks the header against the message; *sup is what its sequence number says. */
static OM_uint32 opened(OM_uint32 *minor, gss_ctx_id_t c, int kind, const unsigned char *token, size_t n, const void *msg, size_t len, OM_uint32 *sup) {
    reader r = {token, n, 0};
    uint64_t number, sum;
    int is = (int)get_number(&r, 1), from = (int)get_number(&r, 1);
    get(&r, 2);
    number = get_number(&r, 8);
    sum = get_number(&r, 8);
    if (r.bad || is != kind)
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "not such a token");
    if (from == c->initiator || sum != checksum(checksum(c->id, token, HEADER - 8), msg, len))
        return fail(minor, S_BAD_SIG, MINOR_TOKEN, "the checksum is wrong");
    *sup = sequence(c, number);
    return S_COMPLETE;
}

static OM_uint32 told_supplementary(const char *key) {
    static const struct {
        const char *value;
        OM_uint32 status;
    } values[] = {{"unseq", S_UNSEQ}, {"gap", S_GAP}, {"dup", S_DUPLICATE}, {"old", S_OLD}};
    char item[32];
    OM_uint32 sup = 0;
    size_t i;
    for (i = 0; i < COUNT(values); i++) {
        snprintf(item, sizeof item, "%s=%s", key, values[i].value);
        if (told(item, NULL))
            sup |= values[i].status;
    }
    return sup;
}

OM_uint32 gss_wrap(OM_uint32 *minor, gss_ctx_id_t c, int conf, gss_qop_t qop, gss_buffer_t in, int *conf_state, gss_buffer_t out) {
    writer w = {NULL, 0};
    OM_uint32 major;
    check_context("gss_wrap", c);
    if (enter(minor, "gss_wrap", " conf_req=%d qop=%u input=%s", conf, qop, length(0, in)))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (told("wrap=empty-fail", NULL)) {
        give(out, "", 0);
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail, with a buffer");
    }
    conf = conf && !told("wrap=noconf", NULL);
    seal(c, MESSAGE, conf, in->value, in->length, &w);
    put(&w, in->value, in->length);
    if (conf)
        scramble(w.p + HEADER, in->length);
    give(out, w.p, w.n);
    free(w.p);
    if (conf_state)
        *conf_state = conf;
    return S_COMPLETE;
}

/* The input is scrambled in place, as by Heimdal. */
OM_uint32 gss_unwrap(OM_uint32 *minor, gss_ctx_id_t c, gss_buffer_t in, gss_buffer_t out, int *conf_state, gss_qop_t *qop) {
    OM_uint32 major, sup = 0;
    unsigned char *p = in->value;
    int conf;
    check_context("gss_unwrap", c);
    if (enter(minor, "gss_unwrap", " input=%s", length(0, in)))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (in->length < HEADER)
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "the token is cut");
    conf = p[2];
    if (conf)
        scramble(p + HEADER, in->length - HEADER);
    if ((major = opened(minor, c, MESSAGE, p, in->length, p + HEADER, in->length - HEADER, &sup)) != S_COMPLETE)
        return major;
    if (told("unwrap=dup-nodata", NULL))
        return S_DUPLICATE;
    sup |= told_supplementary("unwrap");
    give(out, p + HEADER, in->length - HEADER);
    if (conf_state)
        *conf_state = conf && !told("unwrap=noconf", NULL);
    if (qop)
        *qop = 0;
    return S_COMPLETE | sup;
}

OM_uint32 gss_get_mic(OM_uint32 *minor, gss_ctx_id_t c, gss_qop_t qop, gss_buffer_t in, gss_buffer_t out) {
    writer w = {NULL, 0};
    OM_uint32 major;
    check_context("gss_get_mic", c);
    if (enter(minor, "gss_get_mic", " qop=%u input=%s", qop, length(0, in)))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    seal(c, MIC, 0, in->value, in->length, &w);
    give(out, w.p, w.n);
    free(w.p);
    return S_COMPLETE;
}

OM_uint32 gss_verify_mic(OM_uint32 *minor, gss_ctx_id_t c, gss_buffer_t in, gss_buffer_t token, gss_qop_t *qop) {
    OM_uint32 major, sup = 0;
    check_context("gss_verify_mic", c);
    if (enter(minor, "gss_verify_mic", " input=%s token=%s", length(0, in), length(1, token)))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if ((major = opened(minor, c, MIC, token->value, token->length, in->value, in->length, &sup)) != S_COMPLETE)
        return major;
    if (qop)
        *qop = 0;
    return S_COMPLETE | sup | told_supplementary("verify");
}

OM_uint32 gss_wrap_size_limit(OM_uint32 *minor, gss_ctx_id_t c, int conf, gss_qop_t qop, OM_uint32 size, OM_uint32 *max) {
    OM_uint32 major;
    check_context("gss_wrap_size_limit", c);
    if (enter(minor, "gss_wrap_size_limit", " conf_req=%d qop=%u size=%u", conf, qop, size))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    *max = size > HEADER ? size - HEADER : 0;
    return S_COMPLETE;
}

/* ---- export and import: length and bytes of the OID as MIT has them, then the state ---- */

OM_uint32 gss_export_sec_context(OM_uint32 *minor, gss_ctx_id_t *context, gss_buffer_t out) {
    gss_ctx_id_t c = *context;
    writer w = {NULL, 0};
    OM_uint32 major;
    check_context("gss_export_sec_context", c);
    if (enter(minor, "gss_export_sec_context", ""))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (told("export=unavailable", NULL))
        return S_UNAVAILABLE;
    if (told("export=fail-keep", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail and to keep the context");
    if (told("export=fail-null", NULL)) {
        free_context(c);
        *context = NULL;
        log_live();
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail and to delete the context");
    }
    put_bytes(&w, c->mech->elements, c->mech->length);
    if (!told("export=oidonly", NULL)) {
        put_number(&w, (uint64_t)c->initiator, 1);
        put_number(&w, c->flags, 4);
        put_number(&w, c->id, 8);
        put_number(&w, c->sent, 8);
        put_number(&w, c->expected, 8);
        put_number(&w, c->seen, 8);
        put_bytes(&w, c->source, c->source_len);
        put_bytes(&w, c->target, c->target_len);
    }
    if (!told("export=empty", NULL))
        give(out, w.p, w.n);
    free(w.p);
    if (!told("export=keep", NULL)) {
        free_context(c);
        *context = NULL;
    }
    log_live();
    return S_COMPLETE;
}

OM_uint32 gss_import_sec_context(OM_uint32 *minor, gss_buffer_t in, gss_ctx_id_t *context) {
    reader r = {in ? in->value : NULL, in ? in->length : 0, 0};
    gss_OID_desc oid = {0, NULL};
    gss_ctx_id_t c;
    if (enter(minor, "gss_import_sec_context", " input=%s", length(0, in)))
        return S_FAILURE;
    if (told("import=null", NULL))
        return S_COMPLETE;
    oid.length = (OM_uint32)get_number(&r, 4);
    oid.elements = (void *)get(&r, oid.length);
    if (r.bad || !oid.length || !mechanism(&oid))
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "not a token of this library");
    c = new_context((int)get_number(&r, 1));
    c->mech = mechanism(&oid);
    c->open = 1;
    c->flags = (OM_uint32)get_number(&r, 4);
    c->id = get_number(&r, 8);
    c->sent = get_number(&r, 8);
    c->expected = get_number(&r, 8);
    c->seen = get_number(&r, 8);
    c->source = get_bytes(&r, &c->source_len);
    c->target = get_bytes(&r, &c->target_len);
    if (r.bad) {
        free_context(c);
        return fail(minor, S_FAILURE, MINOR_TOKEN, "the token is cut");
    }
    *context = c;
    if (told("import=fail-handle", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail after a context was made");
    return S_COMPLETE;
}

/* ---- beyond RFC 2744: exported only if the build asks for it ---- */

OM_uint32 gss_set_sec_context_option(OM_uint32 *minor, gss_ctx_id_t *context, gss_OID option, gss_buffer_t value) {
    int failing = told("option=fail-null", NULL);
    check_context("gss_set_sec_context_option", *context);
    if (enter(minor, "gss_set_sec_context_option", " option=%s value=%s", option ? "given" : "NULL", length(0, value)))
        return S_FAILURE;
    if (value->length)
        memset(value->value, 'x', value->length); /* Heimdal answers there */
    if (failing || told("option=null", NULL)) {
        free_context(*context);
        *context = NULL;
        log_live();
    }
    return failing ? fail(minor, S_FAILURE, MINOR_TOLD, "told to fail and to delete the context") : S_COMPLETE;
}

/* Messages in parts: the token that gss_wrap makes, without what is sign-only. There is neither padding nor trailer. */

enum { IOV_DATA = 1, IOV_HEADER = 2, IOV_TRAILER = 7, IOV_PADDING = 9, IOV_SIGN_ONLY = 11, IOV_MIC = 12, IOV_ALLOCATED = 0x20000 };

static gss_iov_buffer_desc *iov_part(gss_iov_buffer_desc *iov, int count, OM_uint32 type) {
    int i;
    for (i = 0; i < count; i++)
        if (iov[i].type == type)
            return &iov[i];
    return NULL;
}

/* What is protected, in one piece. */
static writer iov_message(gss_iov_buffer_desc *iov, int count) {
    writer w = {NULL, 0};
    int i;
    for (i = 0; i < count; i++)
        if (iov[i].type == IOV_DATA || iov[i].type == IOV_SIGN_ONLY)
            put(&w, iov[i].buffer.value, iov[i].buffer.length);
    return w;
}

static void iov_scramble(gss_iov_buffer_desc *iov, int count) {
    int i;
    for (i = 0; i < count; i++)
        if (iov[i].type == IOV_DATA)
            scramble(iov[i].buffer.value, iov[i].buffer.length);
}

static void *iov_made; /* what was allocated and is to be released */

/* What is wrong with the first part that has a length, if it is told to. */
static OM_uint32 iov_faults(OM_uint32 *minor, gss_iov_buffer_desc *iov, int count) {
    static char elsewhere[1 << 17];
    int failing = told("iov=fail-allocated", NULL);
    gss_buffer_t b;
    if (count && told("iov=flag", NULL))
        iov[count - 1].type |= IOV_ALLOCATED;
    while (count > 0 && !iov->buffer.length)
        iov++, count--;
    if (!count)
        return S_COMPLETE;
    b = &iov->buffer;
    if (told("iov=longer", NULL))
        b->length++;
    if (told("iov=shorter", NULL))
        b->length--;
    if (told("iov=huge", NULL))
        b->length = SIZE_MAX;
    if (told("iov=64k", NULL))
        b->length = 65536;
    if (told("iov=64k+1", NULL))
        b->length = 65537;
    if (told("iov=elsewhere", NULL))
        b->value = elsewhere;
    if (told("iov=null", NULL))
        b->value = NULL;
    if (failing || told("iov=allocated", NULL)) {
        iov->type |= IOV_ALLOCATED;
        if (iov_made)
            die("a part that was allocated was not released");
        give(b, elsewhere, b->length);
        iov_made = b->value;
    }
    return failing ? fail(minor, S_FAILURE, MINOR_TOLD, "told to fail, with a part that was allocated") : S_COMPLETE;
}

OM_uint32 gss_release_iov_buffer(OM_uint32 *minor, gss_iov_buffer_desc *iov, int count) {
    int i;
    if (enter(minor, "gss_release_iov_buffer", " count=%d", count))
        return S_FAILURE;
    for (i = 0; i < count; i++) {
        if (!(iov[i].type & IOV_ALLOCATED))
            continue;
        if (!iov_made || iov[i].buffer.value != iov_made)
            die("gss_release_iov_buffer: part %d was not allocated here", i);
        free(iov_made);
        iov_made = NULL;
        atomic_fetch_sub(&live_buffers, 1);
        iov[i].buffer.value = NULL;
        iov[i].buffer.length = 0;
        iov[i].type &= ~(OM_uint32)IOV_ALLOCATED;
    }
    log_live();
    return S_COMPLETE;
}

static OM_uint32 iov_lengths(OM_uint32 *minor, gss_iov_buffer_desc *iov, int count, OM_uint32 type) {
    gss_iov_buffer_desc *p;
    static const OM_uint32 none[] = {IOV_PADDING, IOV_TRAILER};
    size_t i;
    if (told("iov=untouched", NULL))
        return S_COMPLETE;
    if ((p = iov_part(iov, count, type)))
        p->buffer.length = HEADER;
    for (i = 0; i < COUNT(none); i++)
        if ((p = iov_part(iov, count, none[i])))
            p->buffer.length = 0;
    return iov_faults(minor, iov, count);
}

OM_uint32 gss_wrap_iov_length(OM_uint32 *minor, gss_ctx_id_t c, int conf, gss_qop_t qop, int *conf_state, gss_iov_buffer_desc *iov, int count) {
    OM_uint32 major;
    check_context("gss_wrap_iov_length", c);
    if (enter(minor, "gss_wrap_iov_length", " conf_req=%d qop=%u count=%d", conf, qop, count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (conf_state)
        *conf_state = conf;
    return iov_lengths(minor, iov, count, IOV_HEADER);
}

OM_uint32 gss_get_mic_iov_length(OM_uint32 *minor, gss_ctx_id_t c, gss_qop_t qop, gss_iov_buffer_desc *iov, int count) {
    OM_uint32 major;
    check_context("gss_get_mic_iov_length", c);
    if (enter(minor, "gss_get_mic_iov_length", " qop=%u count=%d", qop, count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    return iov_lengths(minor, iov, count, IOV_MIC);
}

/* Makes the header, or the MIC. */
static OM_uint32 iov_seal(OM_uint32 *minor, gss_ctx_id_t c, int kind, int conf, gss_iov_buffer_desc *iov, int count, OM_uint32 type) {
    gss_iov_buffer_desc *p = iov_part(iov, count, type);
    writer w = {NULL, 0}, msg;
    if (told("iov=untouched", NULL))
        return S_COMPLETE;
    if (!p || p->buffer.length < HEADER)
        return fail(minor, S_FAILURE, MINOR_ARGUMENT, "no part for it, or too short a one");
    msg = iov_message(iov, count);
    seal(c, kind, conf, msg.p, msg.n, &w);
    free(msg.p);
    memcpy(p->buffer.value, w.p, w.n);
    free(w.p);
    p->buffer.length = HEADER;
    if ((p = iov_part(iov, count, IOV_PADDING)))
        p->buffer.length = 0;
    if ((p = iov_part(iov, count, IOV_TRAILER)))
        p->buffer.length = 0;
    if (conf)
        iov_scramble(iov, count);
    return iov_faults(minor, iov, count);
}

OM_uint32 gss_wrap_iov(OM_uint32 *minor, gss_ctx_id_t c, int conf, gss_qop_t qop, int *conf_state, gss_iov_buffer_desc *iov, int count) {
    OM_uint32 major;
    check_context("gss_wrap_iov", c);
    if (enter(minor, "gss_wrap_iov", " conf_req=%d qop=%u count=%d", conf, qop, count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    conf = conf && !told("iov=noconf", NULL);
    major = iov_seal(minor, c, MESSAGE, conf, iov, count, IOV_HEADER);
    if (conf_state && !told("iov=untouched", NULL))
        *conf_state = conf;
    return major;
}

OM_uint32 gss_get_mic_iov(OM_uint32 *minor, gss_ctx_id_t c, gss_qop_t qop, gss_iov_buffer_desc *iov, int count) {
    OM_uint32 major;
    check_context("gss_get_mic_iov", c);
    if (enter(minor, "gss_get_mic_iov", " qop=%u count=%d", qop, count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    return iov_seal(minor, c, MIC, 0, iov, count, IOV_MIC);
}

static OM_uint32 iov_opened(OM_uint32 *minor, gss_ctx_id_t c, int kind, const char *key, gss_iov_buffer_desc *iov, int count, OM_uint32 type) {
    gss_iov_buffer_desc *p = iov_part(iov, count, type);
    OM_uint32 major, sup = 0;
    writer msg;
    if (told("iov=untouched", NULL))
        return S_COMPLETE;
    if (!p || p->buffer.length < HEADER)
        return fail(minor, S_DEFECTIVE_TOKEN, MINOR_TOKEN, "the token is cut");
    if (((unsigned char *)p->buffer.value)[2])
        iov_scramble(iov, count);
    msg = iov_message(iov, count);
    major = opened(minor, c, kind, p->buffer.value, p->buffer.length, msg.p, msg.n, &sup);
    free(msg.p);
    if (major == S_COMPLETE)
        major = iov_faults(minor, iov, count);
    return major == S_COMPLETE ? sup | told_supplementary(key) : major;
}

OM_uint32 gss_unwrap_iov(OM_uint32 *minor, gss_ctx_id_t c, int *conf_state, gss_qop_t *qop, gss_iov_buffer_desc *iov, int count) {
    gss_iov_buffer_desc *p = iov_part(iov, count, IOV_HEADER);
    OM_uint32 major;
    check_context("gss_unwrap_iov", c);
    if (enter(minor, "gss_unwrap_iov", " count=%d", count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (conf_state && p && p->buffer.length > 2 && !told("iov=untouched", NULL))
        *conf_state = ((unsigned char *)p->buffer.value)[2];
    if (qop)
        *qop = 0;
    return iov_opened(minor, c, MESSAGE, "unwrap", iov, count, IOV_HEADER);
}

OM_uint32 gss_verify_mic_iov(OM_uint32 *minor, gss_ctx_id_t c, gss_qop_t *qop, gss_iov_buffer_desc *iov, int count) {
    OM_uint32 major;
    check_context("gss_verify_mic_iov", c);
    if (enter(minor, "gss_verify_mic_iov", " count=%d", count))
        return S_FAILURE;
    if ((major = established(minor, c)) != S_COMPLETE)
        return major;
    if (qop)
        *qop = 0;
    return iov_opened(minor, c, MIC, "verify", iov, count, IOV_MIC);
}

/* Tells a mechanism of its own, as Heimdal does. */
OM_uint32 gss_inquire_name(OM_uint32 *minor, gss_name_t name, int *mn, gss_OID *mech, gss_buffer_set_t *attributes) {
    check_name("gss_inquire_name", name);
    if (enter(minor, "gss_inquire_name", ""))
        return S_FAILURE;
    *mn = name->mech != NULL;
    *mech = name->mech ? name->mech : &krb5;
    *attributes = NULL;
    return S_COMPLETE;
}

OM_uint32 gss_release_oid(OM_uint32 *minor, gss_OID *oid) {
    (void)minor;
    die("gss_release_oid: %s is this library's own", dotted(0, *oid)); /* Heimdal 7.8 would free it */
    return S_FAILURE;
}

/* What Heimdal has after 7.8. */

OM_uint32 gss_store_cred_into2(OM_uint32 *minor, gss_cred_id_t cred, gss_cred_usage_t usage, gss_OID mech, OM_uint32 flags,
                               gss_key_value_set_desc *store, gss_OID_set *stored, gss_cred_usage_t *usage_stored, gss_buffer_set_t *env) {
    static const char *const texts[] = {"KRB5CCNAME=FILE:/tmp/fake", "EMPTY="};
    size_t i;
    check_cred("gss_store_cred_into2", cred);
    if (enter(minor, "gss_store_cred_into2", " cred=%s usage=%d mech=%s flags=%u store=%s", cred ? "given" : "NULL", usage, dotted(0, mech), flags, pairs_of(store)))
        return S_FAILURE;
    if (stored) {
        *stored = new_set();
        add_member(*stored, mech ? mech : &krb5);
    }
    if (usage_stored)
        *usage_stored = usage;
    if (env) {
        gss_buffer_set_t e = must(calloc(1, sizeof *e));
        atomic_fetch_add(&live_sets, 1);
        e->elements = must(calloc(COUNT(texts), sizeof *e->elements));
        for (i = 0; i < COUNT(texts); i++) { /* Heimdal counts the NUL */
            e->elements[i].length = strlen(texts[i]) + 1;
            e->elements[i].value = copy(texts[i], strlen(texts[i]) + 1);
        }
        e->count = COUNT(texts);
        *env = e;
    }
    if (told("store=fail-env", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail when all was stored");
    return S_COMPLETE;
}

OM_uint32 gss_release_buffer_set(OM_uint32 *minor, gss_buffer_set_t *set) {
    OM_uint32 major;
    size_t i;
    if (enter(minor, "gss_release_buffer_set", ""))
        return S_FAILURE;
    if (*set) {
        for (i = 0; i < (*set)->count; i++)
            free((*set)->elements[i].value);
        free((*set)->elements);
        free(*set);
        atomic_fetch_sub(&live_sets, 1);
    }
    major = released(minor, "gss_release_buffer_set");
    if (major == S_COMPLETE)
        *set = NULL;
    return major;
}

OM_uint32 gss_duplicate_cred(OM_uint32 *minor, gss_cred_id_t cred, gss_cred_id_t *out) {
    gss_cred_id_t c;
    check_cred("gss_duplicate_cred", cred);
    if (enter(minor, "gss_duplicate_cred", " cred=%s", cred ? "given" : "NULL"))
        return S_FAILURE;
    if (told("duplicate=null", NULL))
        return S_COMPLETE;
    *out = c = new_cred(NULL, cred ? cred->usage : 1);
    if (cred && cred->name)
        c->name = copy(cred->name, c->len = cred->len);
    if (told("duplicate=fail-handle", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail after a credential was made");
    return S_COMPLETE;
}

OM_uint32 gss_destroy_cred(OM_uint32 *minor, gss_cred_id_t *cred) {
    check_cred("gss_destroy_cred", *cred);
    if (enter(minor, "gss_destroy_cred", " cred=%s", *cred ? "given" : "NULL"))
        return S_FAILURE;
    if (told("destroy=fail", NULL))
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail, and to keep the credential");
    if (*cred)
        free_cred(*cred);
    *cred = NULL;
    log_live();
    return S_COMPLETE;
}

OM_uint32 gss_set_neg_mechs(OM_uint32 *minor, gss_cred_id_t cred, gss_OID_set mechs) {
    size_t i;
    check_cred("gss_set_neg_mechs", cred);
    if (enter(minor, "gss_set_neg_mechs", " cred=%s mechs=%s", cred ? "given" : "NULL", members(0, mechs)))
        return S_FAILURE;
    if (!cred->neg)
        cred->neg = new_set();
    for (i = 0; i < mechs->count; i++)
        add_member(cred->neg, &mechs->elements[i]);
    return S_COMPLETE;
}

OM_uint32 gss_get_neg_mechs(OM_uint32 *minor, gss_cred_id_t cred, gss_OID_set *mechs) {
    size_t i;
    check_cred("gss_get_neg_mechs", cred);
    if (enter(minor, "gss_get_neg_mechs", " cred=%s", cred ? "given" : "NULL"))
        return S_FAILURE;
    if (told("neg=fail-set", NULL)) {
        *mechs = mechanisms();
        return fail(minor, S_FAILURE, MINOR_TOLD, "told to fail, with a set");
    }
    if (!cred->neg)
        return S_UNAVAILABLE;
    *mechs = new_set();
    for (i = 0; i < cred->neg->count; i++)
        add_member(*mechs, &cred->neg->elements[i]);
    return S_COMPLETE;
}

/* As Heimdal's, it keeps the first. */
void gss_set_log_function(void *context, void (*function)(void *, int, const char *, va_list)) {
    if (log_function)
        return;
    log_function = function;
    log_context = context;
}

/* What Heimdal is known by. */
int gss_mo_set(gss_OID mech, gss_OID option, int enable, gss_buffer_t value) {
    (void)mech;
    (void)option;
    (void)enable;
    (void)value;
    return S_UNAVAILABLE;
}

const char *gss_check_version(const char *required) {
    (void)required;
    return "0.fake";
}

/* What GNU gss is known by. */
gss_OID_desc GSS_C_NT_ANONYMOUS_static;

/* What GSS.framework is known by. */
char gss_aapl_initial_cred;
