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

/*
 * The parts of a message come as so many pointers and lengths, each an argument
 * of its own, and their types in 4 bits each of one word: Go may give C a pointer
 * to bytes, and not an array of pointers to bytes that is not pinned. A pin costs
 * 40 ns for each part and cannot be had for bytes in a Go object that has
 * pointers of its own; 16 arguments more cost 5 ns and no garbage. Eight parts do
 * for DCE/RPC (a header, data, a trailer, a token), for RFC 4121 with associated
 * data on both sides (6), and for a vector of a few pieces.
 */
#define GSSGO_IOV_MAX 8
#define GSSGO_IOV_ALLOCATED 0x20000u /* GSS_IOV_BUFFER_FLAG_ALLOCATED */
#define GSSGO_IOV_LENGTH_MAX 65536   /* what a header, a padding or a trailer may need */

typedef enum {
    GSSGO_WRAP_IOV,
    GSSGO_WRAP_IOV_LENGTH,
    GSSGO_UNWRAP_IOV,
    GSSGO_GET_MIC_IOV,
    GSSGO_GET_MIC_IOV_LENGTH,
    GSSGO_VERIFY_MIC_IOV
} gssgo_iov_call;

/* len: of each part, after the call. odd: the library reached out of the parts that it was given; nothing of them is to be used. */
typedef struct { OM_uint32 major, minor; OM_uint32 qop; int conf; int odd; size_t len[GSSGO_IOV_MAX]; } gssgo_iov;

static inline gssgo_iov gssgo_message_iov(gssgo_iov_call call, void *ctx, int conf, OM_uint32 qop, int count, uint64_t types,
                                          const unsigned char *p0, size_t n0, const unsigned char *p1, size_t n1,
                                          const unsigned char *p2, size_t n2, const unsigned char *p3, size_t n3,
                                          const unsigned char *p4, size_t n4, const unsigned char *p5, size_t n5,
                                          const unsigned char *p6, size_t n6, const unsigned char *p7, size_t n7) {
    gssgo_iov r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, 0, {0}};
    gss_buffer_desc given[GSSGO_IOV_MAX];
    gss_iov_buffer_desc iov[GSSGO_IOV_MAX];
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    int i, measures = call == GSSGO_WRAP_IOV_LENGTH || call == GSSGO_GET_MIC_IOV_LENGTH, allocated = 0;
    given[0] = gssgo_in(p0, n0);
    given[1] = gssgo_in(p1, n1);
    given[2] = gssgo_in(p2, n2);
    given[3] = gssgo_in(p3, n3);
    given[4] = gssgo_in(p4, n4);
    given[5] = gssgo_in(p5, n5);
    given[6] = gssgo_in(p6, n6);
    given[7] = gssgo_in(p7, n7);
    for (i = 0; i < count; i++) {
        iov[i].type = (types >> 4 * i) & 15;
        iov[i].buffer = given[i];
    }
    switch (call) {
    case GSSGO_WRAP_IOV:
        if (gssgo_fn.gss_wrap_iov)
            r.major = gssgo_fn.gss_wrap_iov(&r.minor, c, conf, qop, &r.conf, iov, count);
        break;
    case GSSGO_WRAP_IOV_LENGTH:
        if (gssgo_fn.gss_wrap_iov_length)
            r.major = gssgo_fn.gss_wrap_iov_length(&r.minor, c, conf, qop, &r.conf, iov, count);
        break;
    case GSSGO_UNWRAP_IOV:
        if (gssgo_fn.gss_unwrap_iov)
            r.major = gssgo_fn.gss_unwrap_iov(&r.minor, c, &r.conf, &r.qop, iov, count);
        break;
    case GSSGO_GET_MIC_IOV:
        if (gssgo_fn.gss_get_mic_iov)
            r.major = gssgo_fn.gss_get_mic_iov(&r.minor, c, qop, iov, count);
        break;
    case GSSGO_GET_MIC_IOV_LENGTH:
        if (gssgo_fn.gss_get_mic_iov_length)
            r.major = gssgo_fn.gss_get_mic_iov_length(&r.minor, c, qop, iov, count);
        break;
    case GSSGO_VERIFY_MIC_IOV:
        if (gssgo_fn.gss_verify_mic_iov)
            r.major = gssgo_fn.gss_verify_mic_iov(&r.minor, c, &r.qop, iov, count);
        break;
    }
    for (i = 0; i < count; i++) {
        const gss_buffer_desc *b = &iov[i].buffer;
        r.len[i] = b->length;
        if (iov[i].type & GSSGO_IOV_ALLOCATED) { /* it was not asked to */
            r.odd = 1;
            if (b->value == given[i].value)
                iov[i].type &= ~GSSGO_IOV_ALLOCATED;
            else
                allocated = 1;
        }
        if (measures ? b->length != given[i].length && b->length > GSSGO_IOV_LENGTH_MAX
                     : b->length > given[i].length || (b->length && b->value != given[i].value))
            r.odd = 1;
    }
    if (allocated && gssgo_fn.gss_release_iov_buffer) {
        OM_uint32 minor;
        gssgo_fn.gss_release_iov_buffer(&minor, iov, count);
    }
    return r;
}

static inline gssgo_msg gssgo_wrap_aead(void *ctx, int conf, OM_uint32 qop, const unsigned char *assoc, size_t assoclen, const unsigned char *msg, size_t n, unsigned char *dst, size_t cap) {
    gssgo_msg r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, NULL, 0};
    gss_buffer_desc a = gssgo_in(assoc, assoclen), in = gssgo_in(msg, n), out = {0, NULL};
    if (!gssgo_fn.gss_wrap_aead)
        return r;
    r.major = gssgo_fn.gss_wrap_aead(&r.minor, (gss_ctx_id_t)ctx, conf, qop, assoclen ? &a : NULL, &in, &r.conf, &out);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

/* Writes into tok. */
static inline gssgo_msg gssgo_unwrap_aead(void *ctx, unsigned char *tok, size_t n, const unsigned char *assoc, size_t assoclen, unsigned char *dst, size_t cap) {
    gssgo_msg r = {GSSGO_S_UNAVAILABLE, 0, 0, 0, NULL, 0};
    gss_buffer_desc a = gssgo_in(assoc, assoclen), in = gssgo_in(tok, n), out = {0, NULL};
    if (!gssgo_fn.gss_unwrap_aead)
        return r;
    r.major = gssgo_fn.gss_unwrap_aead(&r.minor, (gss_ctx_id_t)ctx, &in, assoclen ? &a : NULL, &out, &r.conf, &r.qop);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

static inline gssgo_status gssgo_complete_auth_token(void *ctx, const unsigned char *tok, size_t n) {
    gssgo_status r = {GSSGO_S_UNAVAILABLE, 0};
    gss_buffer_desc in = gssgo_in(tok, n);
    if (gssgo_fn.gss_complete_auth_token)
        r.major = gssgo_fn.gss_complete_auth_token(&r.minor, (gss_ctx_id_t)ctx, &in);
    return r;
}

/* ---- Kerberos' own ---- */

/* ---- the library itself ---- */

static inline const char *gssgo_check_version(void) { return gssgo_fn.gss_check_version(NULL); }

#endif
