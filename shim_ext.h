/*
 * Entry points of the functions beyond RFC 2744; a part of shim.h, which includes
 * it. What the open library lacks answers GSS_S_UNAVAILABLE.
 */
#ifndef GSSGO_SHIM_EXT_H
#define GSSGO_SHIM_EXT_H

#define GSSGO_S_FAILURE ((OM_uint32)13 << 16)
#define GSSGO_S_UNAVAILABLE ((OM_uint32)16 << 16)

/* ---- sets of buffers ---- */

/* set: a gss_buffer_set_t, to be released. */
typedef struct { OM_uint32 major, minor; void *set; } gssgo_set;

static inline gssgo_status gssgo_release_buffer_set(void *set, int wipe) {
    gssgo_status r = {0, 0};
    gss_buffer_set_t s = (gss_buffer_set_t)set;
    size_t i;
    if (!s || !gssgo_fn.gss_release_buffer_set)
        return r;
    for (i = 0; wipe && i < s->count; i++)
        if (s->elements[i].value)
            gssgo_wipe(s->elements[i].value, s->elements[i].length);
    r.major = gssgo_fn.gss_release_buffer_set(&r.minor, &s);
    return r;
}

static inline size_t gssgo_buffer_set_count(const void *set) {
    return set ? ((const gss_buffer_set_desc *)set)->count : 0;
}

static inline gssgo_bytes gssgo_buffer_set_at(const void *set, size_t i) {
    const gss_buffer_desc *b = &((const gss_buffer_set_desc *)set)->elements[i];
    gssgo_bytes r;
    r.p = b->value;
    r.n = b->value ? b->length : 0;
    return r;
}

/* ---- mechanisms and object identifiers: RFC 5587, RFC 5801, RFC 2743 3.1 ---- */

/* ---- names: RFC 6680 and local names ---- */

/* ---- credentials: stores, passwords, RFC 5588, S4U, export, negotiation ---- */

/* The store comes as a block of count pairs of NUL-terminated strings. */
static inline gssgo_cred gssgo_acquire_cred_from(void *name, OM_uint32 lifetime, void *mechs, int usage, const char *block, OM_uint32 count) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_key_value_set_desc store;
    gss_key_value_element_desc *elements;
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    OM_uint32 i;
    if (!gssgo_fn.gss_acquire_cred_from)
        return r;
    elements = malloc((count + 1) * sizeof *elements);
    if (!elements) {
        r.major = GSSGO_S_FAILURE;
        return r;
    }
    for (i = 0; i < count; i++) {
        elements[i].key = block;
        block += strlen(block) + 1;
        elements[i].value = block;
        block += strlen(block) + 1;
    }
    store.count = count;
    store.elements = elements;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_from(&r.minor, (gss_name_t)name, lifetime, (gss_OID_set)mechs, usage, &store, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    free(elements);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_acquire_cred_with_password(void *name, const unsigned char *password, size_t n, OM_uint32 lifetime, void *mechs, int usage) {
    sigset_t signals;
    gssgo_cred r = {GSSGO_S_UNAVAILABLE, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_buffer_desc pw = gssgo_in(password, n);
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    if (!gssgo_fn.gss_acquire_cred_with_password)
        return r;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred_with_password(&r.minor, (gss_name_t)name, &pw, lifetime, (gss_OID_set)mechs, usage, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

/* ---- contexts: by object identifier, RFC 4401 ---- */

/* ---- messages in parts ---- */

/* ---- Kerberos' own ---- */

/* ---- the library itself ---- */

static inline const char *gssgo_check_version(void) { return gssgo_fn.gss_check_version(NULL); }

#endif
