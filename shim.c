//go:build cgo && unix

/* The loader: finds a GSS-API library at run time and binds the table of shim.h. */

#ifdef __linux__
#define _GNU_SOURCE /* dladdr, dl_iterate_phdr, RTLD_DEFAULT */
#endif

#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__linux__)
#include <link.h>
#include <sys/auxv.h>
#define GSSGO_PHDR 1
#elif defined(__FreeBSD__) || defined(__DragonFly__) || defined(__NetBSD__) || defined(__OpenBSD__)
#include <link.h>
#define GSSGO_PHDR 1
#elif defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

#ifndef RTLD_NODELETE
#define RTLD_NODELETE 0
#endif

gssgo_table gssgo_fn;
int gssgo_mit, gssgo_deaf;
static void *gssgo_lib;

void gssgo_wipe(void *p, size_t n) {
    volatile unsigned char *v = p;
    while (n--)
        *v++ = 0;
}

void *gssgo_oid_intern(const unsigned char *p, size_t n) {
    gss_OID_desc *oid = malloc(sizeof *oid + n);
    if (!oid)
        return NULL;
    oid->length = (OM_uint32)n;
    oid->elements = oid + 1;
    memcpy(oid + 1, p, n);
    return oid;
}

/* ---- the library's log ---- */

static pthread_mutex_t log_turn = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

void gssgo_log(void *unused, int level, const char *format, va_list args) {
    char line[1024];
    size_t n, i, at;
    int saved = errno, made;
    (void)unused;
    at = (size_t)snprintf(line, sizeof line, "%d ", level);
    made = vsnprintf(line + at, sizeof line - at, format, args);
    n = made < 0 ? at : at + (size_t)made;
    if (n > sizeof line - 1)
        n = sizeof line - 1;
    for (i = at; i < n; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = ' '; /* a peer's name may have a line break */
    line[n++] = '\n';
    pthread_mutex_lock(&log_turn);
    if (log_fd >= 0) {
        ssize_t lost = write(log_fd, line, n); /* so it is, if the file takes no more */
        (void)lost;
    }
    pthread_mutex_unlock(&log_turn);
    errno = saved;
}

int gssgo_log_to(int fd) {
    int old;
    if (fd >= 0 && (fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return errno;
    pthread_mutex_lock(&log_turn);
    old = log_fd;
    log_fd = fd;
    pthread_mutex_unlock(&log_turn);
    if (old >= 0)
        close(old);
    return 0;
}

static char *text(const char *a, const char *b) {
    size_t n = strlen(a) + strlen(b) + 1;
    char *s = malloc(n);
    if (s)
        snprintf(s, n, "%s%s", a, b);
    return s;
}

char *gssgo_file_of(const void *addr) {
    Dl_info info;
    if (!addr || !dladdr((void *)addr, &info) || !info.dli_fname)
        return NULL;
    return text(info.dli_fname, "");
}

static void *base_of(const void *addr) {
    Dl_info info;
    return addr && dladdr((void *)addr, &info) ? info.dli_fbase : NULL;
}

int gssgo_secure(void) {
#if defined(__linux__)
    return getauxval(AT_SECURE) != 0;
#else
    return issetugid();
#endif
}

#ifdef GSSGO_LINK

/* Build tag gss_link: the linker has found the library, and the process has it. The handle is for what the table lacks. */
#define GSSGO_EXTERN(ret, name, args) extern ret name args;
GSSGO_REQUIRED(GSSGO_EXTERN)
#undef GSSGO_EXTERN

static void *load(const char *file, int noload) {
    char *linked = gssgo_file_of((void *)gss_wrap);
    void *lib = linked ? dlopen(linked, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    (void)file;
    (void)noload;
    free(linked);
    return lib;
}

#else

/* Never closed: Heimdal's thread-exit handlers crash once its code is gone. */
static void *load(const char *file, int noload) {
#ifdef RTLD_NOLOAD
    return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | (noload ? RTLD_NOLOAD : 0));
#else
    return noload ? NULL : dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
#endif
}

#endif

#if defined(GSSGO_LINK) && !defined(__APPLE__)

/*
 * The table as the linker has bound it. What the library lacks is a weak reference,
 * which another library in the process may have filled: that is not bound.
 */
#define GSSGO_WEAK(ret, name, args) extern ret name args __attribute__((weak));
GSSGO_OPTIONAL(GSSGO_WEAK)
#undef GSSGO_WEAK

static void *find(void *lib, const char *name) {
    void *p = NULL;
    (void)lib;
#define GSSGO_FIND(ret, fn, args) \
    if (strcmp(name, #fn) == 0)   \
        p = (void *)(fn);
    GSSGO_TABLE(GSSGO_FIND)
#undef GSSGO_FIND
    return base_of(p) == base_of((void *)gss_wrap) ? p : NULL;
}

#else

/* Also with gss_link on macOS, whose linker takes no weak reference that no library fills. */
static void *find(void *lib, const char *name) { return dlsym(lib, name); }

#endif

/*
 * GSS.framework (Heimdal-710.0.1, packages/mac/framework/gss.sym) exports a part of
 * its functions under private names alone, those of messages in parts among them.
 */
static void *find_optional(void *lib, const char *name, int apple) {
    char buf[160];
    void *p = NULL;
    if (apple && snprintf(buf, sizeof buf, "__ApplePrivate_%s", name) < (int)sizeof buf)
        p = find(lib, buf);
    return p ? p : find(lib, name);
}

gssgo_opened gssgo_open(const char *file, int noload) {
    gssgo_opened r = {0, NULL, NULL, NULL};
    gssgo_table t;
    void *lib;
    int apple;
    memset(&t, 0, sizeof t);
    dlerror();
    lib = load(file, noload);
    if (!lib) {
        const char *e = dlerror(); /* in this call: it is per thread */
        r.err = text(e ? e : "not loaded", "");
        return r;
    }
#define GSSGO_BIND(ret, name, args)                             \
    *(void **)&t.name = find(lib, #name);                       \
    if (!t.name && !r.err)                                      \
        r.err = text("not a complete GSS-API library: it has no ", #name);
    GSSGO_REQUIRED(GSSGO_BIND)
#undef GSSGO_BIND
    if (r.err)
        return r;
    apple = dlsym(lib, "gss_aapl_initial_cred") != NULL;
#define GSSGO_BIND(ret, name, args) *(void **)&t.name = find_optional(lib, #name, apple);
    GSSGO_OPTIONAL(GSSGO_BIND)
#undef GSSGO_BIND
    r.path = gssgo_file_of((void *)t.gss_wrap);
    r.base = base_of((void *)t.gss_wrap);
    gssgo_fn = t;
    gssgo_lib = lib;
    gssgo_mit = dlsym(lib, "gssspi_mech_invoke") != NULL;
    gssgo_deaf = apple || dlsym(lib, "gss_mo_set") != NULL; /* Heimdal, and not MIT nor GNU gss */
    r.ok = 1;
    return r;
}

void *gssgo_symbol(const char *name) { return gssgo_lib ? dlsym(gssgo_lib, name) : NULL; }

int gssgo_bound(const char *name) {
#define GSSGO_ASK(ret, fn, args) \
    if (strcmp(name, #fn) == 0)  \
        return gssgo_fn.fn != NULL;
    GSSGO_TABLE(GSSGO_ASK)
#undef GSSGO_ASK
    return -1;
}

void *gssgo_global(void) { return dlsym(RTLD_DEFAULT, "gss_wrap"); }

char *gssgo_loaded_as(const char *soname) {
#ifdef RTLD_NOLOAD
    void *lib = dlopen(soname, RTLD_LAZY | RTLD_NOLOAD);
    void *f = lib ? dlsym(lib, "gss_wrap") : NULL;
    return f ? gssgo_file_of(f) : NULL;
#else
    (void)soname;
    return NULL;
#endif
}

/* ---- what is in the process ---- */

struct names {
    char **v;
    size_t n, cap;
};

static void names_add(struct names *l, const char *s) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        char **v = realloc(l->v, cap * sizeof *v);
        if (!v)
            return;
        l->v = v;
        l->cap = cap;
    }
    if ((l->v[l->n] = text(s, "")) != NULL)
        l->n++;
}

#ifdef GSSGO_PHDR

static int on_name(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)size;
    names_add(arg, info->dlpi_name ? info->dlpi_name : "");
    return 0;
}

static int list_objects(struct names *l) {
    dl_iterate_phdr(on_name, l);
    return 1;
}

struct note {
    uintptr_t addr;
    unsigned char *id;
    size_t cap, n;
};

static int on_note(struct dl_phdr_info *info, size_t size, void *arg) {
    struct note *q = arg;
    int i, mine = 0;
    (void)size;
    for (i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && q->addr >= at && q->addr - at < info->dlpi_phdr[i].p_memsz)
            mine = 1;
    }
    if (!mine)
        return 0;
    for (i = 0; i < info->dlpi_phnum; i++) {
        const unsigned char *p, *end;
        if (info->dlpi_phdr[i].p_type != PT_NOTE)
            continue;
        p = (const unsigned char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        end = p + info->dlpi_phdr[i].p_memsz;
        while ((size_t)(end - p) >= 12) {
            uint32_t h[3]; /* length of name, length of content, type */
            size_t room = (size_t)(end - p) - 12, name, desc;
            memcpy(h, p, sizeof h);
            name = ((size_t)h[0] + 3) & ~(size_t)3;
            desc = ((size_t)h[1] + 3) & ~(size_t)3;
            if (name > room || desc > room - name)
                break;
            if (h[2] == 3 && h[0] == 4 && memcmp(p + 12, "GNU", 4) == 0) { /* NT_GNU_BUILD_ID */
                q->n = h[1] < q->cap ? h[1] : q->cap;
                memcpy(q->id, p + 12 + name, q->n);
                return 1;
            }
            p += 12 + name + desc;
        }
    }
    return 1;
}

size_t gssgo_build_id(const void *addr, unsigned char *id, size_t cap) {
    struct note q;
    q.addr = (uintptr_t)addr;
    q.id = id;
    q.cap = cap;
    q.n = 0;
    dl_iterate_phdr(on_note, &q);
    return q.n;
}

#else

static int list_objects(struct names *l) {
#ifdef __APPLE__
    uint32_t i;
    for (i = 0; i < _dyld_image_count(); i++)
        if (_dyld_get_image_name(i))
            names_add(l, _dyld_get_image_name(i));
    return 1;
#else
    (void)l;
    return 0;
#endif
}

/* A Mac's system libraries live in the shared cache; their LC_UUID is not read. */
size_t gssgo_build_id(const void *addr, unsigned char *id, size_t cap) {
    (void)addr;
    (void)id;
    (void)cap;
    return 0;
}

#endif

#ifdef __linux__
static int on_first(struct dl_phdr_info *info, size_t size, void *arg) {
    int i;
    (void)size;
    for (i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP)
            *(int *)arg = 1;
    return 1; /* the program itself comes first */
}
#endif

/*
 * A static glibc program can dlopen, works for a while, then crashes. One with the
 * library in it cannot tell which it is, nor has it what nothing refers to but weakly.
 */
const char *gssgo_unfit(void) {
#ifdef __linux__
    int interp = 0;
    dl_iterate_phdr(on_first, &interp);
    if (!interp)
        return "this program is linked statically, and in a static program no GSS-API library can safely be used: link it dynamically (without -extldflags -static)";
#endif
    return NULL;
}

char *gssgo_libraries(void) {
    struct names all = {NULL, 0, 0}, found = {NULL, 0, 0};
    char *out = NULL;
    size_t i, j, len = 1;
    if (!list_objects(&all))
        return NULL;
    for (i = 0; i < all.n; i++) {
        void *lib, *f = NULL;
        char *file;
#ifdef RTLD_NOLOAD
        lib = dlopen(*all.v[i] ? all.v[i] : NULL, RTLD_LAZY | RTLD_NOLOAD);
#else
        lib = NULL;
#endif
        if (lib && (f = dlsym(lib, "gss_wrap")) != NULL) {
            /* a library, not an interposer that has a function or two */
            if (base_of(dlsym(lib, "gss_accept_sec_context")) != base_of(f) || base_of(dlsym(lib, "gss_release_cred")) != base_of(f))
                f = NULL;
        }
        file = f ? gssgo_file_of(f) : NULL;
        for (j = 0; file && j < found.n; j++)
            if (strcmp(found.v[j], file) == 0) {
                free(file);
                file = NULL;
            }
        if (file) {
            names_add(&found, file);
            len += strlen(file) + 1;
            free(file);
        }
        free(all.v[i]);
    }
    free(all.v);
    if ((out = calloc(1, len)) != NULL)
        for (i = 0; i < found.n; i++) {
            strcat(out, found.v[i]);
            strcat(out, "\n");
        }
    for (i = 0; i < found.n; i++)
        free(found.v[i]);
    free(found.v);
    return out;
}
